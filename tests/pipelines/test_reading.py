"""How much goes into one read task and one block: few enough for a driver whose memory does not grow with the rows."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from engine.config import GenerateConfig
from engine.journal.frames import key_digest
from engine.journal.index import DIGEST, Done, no_digests
from engine.planning import plan_job
from engine.sources.select import iter_rows
from pipelines.blocks import Row
from pipelines.reading import BLOCK_BYTES, LARGEST_BLOCK, MOST_TASKS, USUAL_BLOCK, _rows, block_rows, bundles
from tests.pipelines.conftest import folder_of


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1_172, 40_000])
def test_every_window_in_order_in_few_tasks(count: int) -> None:
    tables = bundles(list(range(count)))
    assert len(tables) <= MOST_TASKS
    pickled = [window for table in tables for window in table.column("window").to_pylist()]
    assert [pickle.loads(window) for window in pickled] == [*range(count)]


def test_a_small_source_is_read_by_as_many_tasks_as_it_has_windows() -> None:
    assert [table.num_rows for table in bundles(["a", "b", "c"])] == [1, 1, 1]


@pytest.mark.parametrize(
    ("total", "workers", "expected"),
    [(1, 1, 1), (650, 1, 20), (10_000, 1, USUAL_BLOCK), (300_000, 1, LARGEST_BLOCK), (300_000, 64, USUAL_BLOCK)],
)
def test_blocks_grow_only_where_every_worker_still_gets_many(total: int, workers: int, expected: int) -> None:
    assert block_rows(total, 16 * workers) == expected


def test_blocks_of_real_pictures_stay_few_bytes() -> None:
    assert BLOCK_BYTES * 18 <= 150 * 2**20  # what one worker is sent at once


def test_rows_of_one_picture_come_one_after_the_other(tmp_path: Path) -> None:
    """Its tokens are then still in the engine's cache."""
    lines = [{"image": f"{k % 3}.png", "query": f"Question {k}?"} for k in range(12)]
    found = read(tmp_path / "src", lines)
    pictures = [row.query.pictures[0].sha256 for row in found]
    assert len(set(pictures)) == 3
    assert len([1 for before, after in pairwise(pictures) if before != after]) == 2
    assert sorted(row.query.source_index for row in found) == [*range(12)]
    for _, rows in groupby(found, key=lambda row: row.query.pictures[0].sha256):
        indices = [row.query.source_index for row in rows]
        assert indices == sorted(indices)


def test_a_row_that_is_done_is_not_read_and_a_repeated_one_is_marked(tmp_path: Path) -> None:
    lines = [{"image": f"{k % 2}.png", "query": f"Question {k}?"} for k in range(4)]
    first = read(tmp_path / "src", lines)
    lines.append(lines[0])
    again = read(tmp_path / "src", lines, done=first[1:3])
    asked = [row.query.source_key for row in again if not row.duplicate]
    assert sorted(asked) == sorted(
        {row.query.source_key for row in first} - {row.query.source_key for row in first[1:3]}
    )
    (repeated,) = [row for row in again if row.duplicate]
    assert repeated.query.source_index == 4


def test_a_row_without_its_picture_is_a_row_with_a_problem(tmp_path: Path) -> None:
    good, bad = read(tmp_path / "src", [{"image": "0.png", "query": "One?"}, {"image": "no.png", "query": "Two?"}])
    if bad.problem is None:
        good, bad = bad, good
    assert (good.problem, bad.query.pictures) == (None, ())
    assert "no.png" in str(bad.problem)


def read(folder: Path, lines: list[dict[str, str]], done: Sequence[Row] = ()) -> list[Row]:
    """All rows of a folder source as a reader hands them on, where `done` are in the journal."""
    path = folder_of(folder, list(lines))
    job = plan_job(GenerateConfig(queries="folder", path=str(path), backend="scripted", out=str(folder / "out")))
    keys = sorted(key_digest(row.query.source_key) for row in done)
    finished = Done(keys=np.array(keys, DIGEST) if keys else no_digests())
    return [
        row for window, selection in job.plan.windows for row in _rows(iter_rows(window, selection), finished, job.caps)
    ]
