"""LLaMA-Factory's and ms-swift's own loaders read what we export, in environments of their own (their pins clash).

    sh tests/export/environments.sh DIR
    ECSO_LLAMAFACTORY=DIR/llamafactory/bin/python ECSO_SWIFT=DIR/swift/bin/python pytest tests/export/other_trainers.py

Not collected by a plain `pytest`. Each row must arrive with as many picture slots as it has pictures, and with exactly
our answer as the learned text. Rows that a loader cannot read are dropped with a warning only, so rows are counted.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.export.base import neutral
from engine.export.export import ExportConfig, export
from engine.export.mix import choose
from engine.tiny import __file__ as tiny
from tests.export import make

pytestmark = pytest.mark.bars
HERE = Path(__file__).parent
MODEL = Path(tiny).parent / "model"
PICTURE_TOKENS, MIXED = 36, 12


def read_by(name: str, export_folder: Path, cache: Path) -> dict[str, list[dict[str, Any]]]:
    """What the trainer's own loader made of the export."""
    python = os.environ.get(f"ECSO_{name.upper()}")
    if not python:
        pytest.skip(f"ECSO_{name.upper()} names no python with {name} (see the docstring)")
    command = [python, str(HERE / f"load_{name}.py"), str(export_folder), str(MODEL)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ECSO_"))}
    places = {"HF_HOME": str(cache / "hf"), "MODELSCOPE_CACHE": str(cache / "ms"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=kept | places, cwd=cache)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("READ "))
    return dict(json.loads(line.removeprefix("READ ")))


def wanted(utility: Path) -> tuple[list[tuple[int, list[str]]], list[tuple[int, list[str]]]]:
    """(pictures, learned texts) of each supervised row and of each pair, in order."""
    rows = [(len(ask.pictures), [ask.response]) for ask in make.ROWS]
    rows += [
        (len(row.images), [turn.text for turn in row.turns[1::2]])
        for row in choose(str(utility), MIXED, 0, set()).rows()
    ]
    pairs = [(len(ask.pictures), [ask.response, ask.rejected]) for ask in make.ROWS if ask.rejected]
    return rows, pairs


def check(found: Sequence[dict[str, Any]], rows: Sequence[tuple[int, list[str]]], *, joined: bool) -> None:
    assert len(found) == len(rows), "the loader dropped rows"
    for read, (pictures, texts) in zip(found, rows, strict=True):
        said = [neutral(text) + "</s>" for text in texts]
        assert read["answers"] == (["".join(said)] if joined else said)
        assert read["images"] == pictures, texts
        assert read["image_tokens"] == PICTURE_TOKENS * pictures, texts


@pytest.mark.parametrize(
    ("name", "form", "supervised", "pairs"),
    [("llamafactory", "llamafactory", "ecso_sft", "ecso_ranking"), ("swift", "swift", "sft.jsonl", "dpo.jsonl")],
)
def test_its_own_loader_reads_every_row(
    name: str, form: str, supervised: str, pairs: str, made: Path, utility: Path, tmp_path: Path
) -> None:
    export(ExportConfig(str(made), form, str(tmp_path / "out"), mix=str(utility), mix_rows=MIXED))
    found = read_by(name, tmp_path / "out", tmp_path)
    rows, ranked = wanted(utility)
    check(found[supervised], rows, joined=True)
    check(found[pairs], ranked, joined=False)
