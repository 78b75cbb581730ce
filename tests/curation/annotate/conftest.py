"""Sealed runs of a stated size, made without a model, and one Ray cluster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from engine.journal.seal import seal
from engine.journal.segments import JournalWriter
from engine.types import Picture
from pipelines.cluster import QUIET
from tests.journal.make import RUN, failed, transcript

HARMFUL, HARMLESS = "words [scripted: harmful]", "words [scripted: harmless]"


def picture(number: int) -> Picture:
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (16, 12), (number * 7 % 256, 80, 40)).save(buffer, "PNG")
    data = buffer.getvalue()
    return Picture(data, hashlib.sha256(data).hexdigest(), 16, 12, "PNG")


def make_run(url: str, rows: int, *, complete: bool = True, errors: int = 0) -> dict[str, Any]:
    """A sealed run: every third direct answer is harmful, two queries a picture, the first `errors` rows failed."""
    with JournalWriter(url, "one") as writer:
        for number in range(rows):
            if number < errors:
                writer.append(failed(number, index=number, direct_response=None))
                continue
            shown = picture(number // 2)
            writer.add_picture(shown)
            direct = HARMFUL if number % 3 == 0 else HARMLESS
            made = transcript(number, index=number, pictures=[shown], steps=1, direct_response=direct)
            writer.append(replace(made, final_response=f"A safe reply {number}. {HARMLESS}"))
    return seal(url, run=RUN, complete=complete)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One cluster for the module, unless the session has one already."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.update(QUIET)
    ray.init("local", num_cpus=6, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """(rows, …) -> the folder of a sealed run."""

    def make(rows: int = 20, name: str = "run", **facts: Any) -> str:
        make_run(str(tmp_path / name), rows, **facts)
        return str(tmp_path / name)

    return make


def annotations(run: str) -> list[dict[str, Any]]:
    """All rows of annotations/, file by file."""
    import pyarrow.parquet as pq

    return [
        row for file in sorted(Path(run, "annotations").glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]
