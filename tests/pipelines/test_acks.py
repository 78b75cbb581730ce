"""Acknowledgements of one block go back many at once, early ones within ACKS_EVERY_S, and an error at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pyarrow as pa
import pytest

from pipelines import worker
from pipelines.blocks import Ack, acks_to_table, table_to_acks, unwrap, wrap


def batches(ends: list[float | Exception]) -> list[int | str]:
    """Sizes of what comes back where row k ends after `ends[k]` seconds, or with that error."""

    async def row(end: float | Exception) -> Ack:
        if isinstance(end, Exception):
            raise end
        await asyncio.sleep(end)
        return Ack("row", "ok")

    async def main() -> worker.Call:
        loop = asyncio.get_running_loop()
        call = worker.Call(len(ends), loop)
        tasks = [loop.create_task(row(end)) for end in ends]
        for task in tasks:
            task.add_done_callback(call.ended)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
        return call

    call = asyncio.run(main())
    found: list[int | str] = []
    for acks in call.batches(len(ends)):
        if isinstance(acks, BaseException):
            return [*found, str(acks)]
        found.append(len(acks))
    return found


def test_rows_that_end_together_come_back_together() -> None:
    assert batches([0.0] * 40) == [40]


def test_a_block_that_is_large_comes_back_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ACKS_AT_ONCE", 16)
    assert batches([0.0] * 40) == [16, 16, 8]


def test_early_rows_do_not_wait_for_late_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ACKS_EVERY_S", 0.05)
    assert batches([0.0, 0.0, 0.5]) == [2, 1]


def test_what_blocks_have_to_say_leaves_at_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[float, list[float]]:
        loop = asyncio.get_running_loop()
        beat = loop.time() + 60  # the one whole multiple of itself that comes next, and none in between
        monkeypatch.setattr(worker, "ACKS_EVERY_S", beat)
        calls = [worker.Call(2, loop) for _ in range(4)]
        for call in calls:
            loop.create_task(asyncio.sleep(0, Ack("row", "ok"))).add_done_callback(call.ended)
            await asyncio.sleep(0.05)
        return beat, [call._timer.when() for call in calls if call._timer is not None]

    beat, due = asyncio.run(main())
    assert due == pytest.approx([beat] * 4, rel=0, abs=1e-3)


def test_an_error_comes_back_before_the_rest() -> None:
    assert batches([0.0, OSError("the disk is gone"), 0.1]) == ["the disk is gone"]


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_a_task_that_gives_nothing_has_nothing_to_say() -> None:
    """Ray Data makes a block without columns of it: a worker that broke off, a reader that was told to stop."""
    import ray

    def give(block: pa.Table) -> Iterator[pa.Table]:
        if block["id"][0].as_py() == 1:
            yield wrap(acks_to_table([Ack("row", "ok")]))

    dataset = ray.data.range(3, override_num_blocks=3).map_batches(give, batch_size=None, batch_format="pyarrow")
    blocks = [ray.get(entry.ref) for bundle in dataset.iter_internal_ref_bundles() for entry in bundle.blocks]
    assert [] in [block.column_names for block in blocks]  # else this test shows nothing
    assert [ack for block in blocks for table in unwrap(block) for ack in table_to_acks(table)] == [Ack("row", "ok")]
