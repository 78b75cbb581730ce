"""How much goes into one read task and one block: few enough for a driver whose memory does not grow with the rows."""

from __future__ import annotations

import pickle

import pytest

from pipelines.reading import BLOCK_BYTES, LARGEST_BLOCK, MOST_TASKS, USUAL_BLOCK, block_rows, bundles


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
