"""One Ray cluster for all quick pipeline tests: starting one costs seconds, a run on it less than two."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config import GenerateConfig
from pipelines.cluster import QUIET


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    import os

    import ray

    os.environ.update(QUIET)
    ray.init("local", num_cpus=10, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., GenerateConfig]:
    """A scripted run of the sample into a fresh folder."""

    def make(**changes: Any) -> GenerateConfig:
        return GenerateConfig(**{"backend": "scripted", "out": str(tmp_path / "out"), **changes})

    return make


def rows(out: str | Path, table: str) -> list[dict[str, Any]]:
    """All rows of one table of a run."""
    import pyarrow.parquet as pq

    return [row for file in sorted(Path(out, table).glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def journalled(out: str | Path) -> list[dict[str, Any]]:
    """Every transcript in the journal, repeated ones too."""
    from engine.journal.segments import ROWS, iter_frames, segments
    from engine.journal.store import Store

    store = Store(str(out))
    frames = [frame for segment in segments(store, ROWS) for frame in iter_frames(store, segment)]
    return [row for frame in frames if "status" in (row := json.loads(frame.body))]


def folder_of(root: Path, lines: list[Any], pictures: int = 4) -> Path:
    """A `--queries folder` source: numbered pictures and a queries.jsonl of the given lines."""
    from PIL import Image

    root.mkdir(exist_ok=True)
    for number in range(pictures):
        Image.new("RGB", (16, 16), (number * 20 % 256, 90, 200)).save(root / f"{number}.png")
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (root / "queries.jsonl").write_text(text)
    return root
