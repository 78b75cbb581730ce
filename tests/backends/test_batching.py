"""The queue and its worker, with a function in the model's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine.backends.batching import Answer, Batcher, Job
from engine.errors import EngineDeadError, RequestError
from engine.types import Sampling


def job(marker: int, max_tokens: int = 4) -> Job:
    loop = asyncio.get_running_loop()
    return Job([marker], [], Sampling(max_tokens), max_tokens, {}, loop, loop.create_future())


async def answers(run: Callable[[list[Job]], list[Job]], jobs: int, size: int, kinds: int = 1) -> list[Any]:
    batcher = Batcher(run, size)
    made = [job(i, 1 if i % kinds else 4) for i in range(jobs)]
    for one in made:
        batcher.submit(one)
    batcher.start()
    try:
        return await asyncio.wait_for(asyncio.gather(*(j.future for j in made), return_exceptions=True), 10)
    finally:
        batcher.close()
        batcher.close()


def finishing(sizes: list[int]) -> Callable[[list[Job]], list[Job]]:
    def run(jobs: list[Job]) -> list[Job]:
        sizes.append(len(jobs))
        for one in jobs:
            one.generated.append(one.token_ids[0])
            one.finish("stop")
        return []

    return run


def test_batches_are_filled_and_everyone_gets_their_own_answer() -> None:
    sizes: list[int] = []
    got = asyncio.run(answers(finishing(sizes), 10, 4))
    assert got == [Answer([i], "stop", None) for i in range(10)]
    assert sizes == [4, 4, 2]


def test_kinds_do_not_share_a_batch() -> None:
    kinds: list[set[str]] = []

    def run(jobs: list[Job]) -> list[Job]:
        kinds.append({one.kind for one in jobs})
        return finishing([])(jobs)

    asyncio.run(answers(run, 10, 8, kinds=2))
    assert all(len(kind) == 1 for kind in kinds)


def test_one_bad_row_fails_alone() -> None:
    def run(jobs: list[Job]) -> list[Job]:
        if any(one.token_ids == [3] for one in jobs):
            raise ValueError("row three")
        return finishing([])(jobs)

    got = asyncio.run(answers(run, 8, 8))
    assert isinstance(got[3], RequestError)
    assert "row three" in str(got[3])
    assert sum(isinstance(one, Answer) for one in got) == 7


def test_out_of_memory_halves_the_batch_for_good() -> None:
    sizes: list[int] = []

    def run(jobs: list[Job]) -> list[Job]:
        if len(jobs) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")
        return finishing(sizes)(jobs)

    got = asyncio.run(answers(run, 16, 8))
    assert all(isinstance(one, Answer) for one in got)
    assert max(sizes) <= 2


def test_out_of_memory_with_one_row_is_that_rows_error() -> None:
    def run(jobs: list[Job]) -> list[Job]:
        raise MemoryError("no more")

    assert all(isinstance(one, RequestError) for one in asyncio.run(answers(run, 3, 4)))


def test_rows_finished_before_the_failure_are_not_run_again() -> None:
    runs: list[int] = []

    def run(jobs: list[Job]) -> list[Job]:
        runs.extend(one.token_ids[0] for one in jobs)
        finishing([])(jobs[:1])
        if len(jobs) > 1:
            raise ValueError("later")
        return []

    got = asyncio.run(answers(run, 4, 4))
    assert all(isinstance(one, Answer) for one in got)
    assert runs.count(0) == 1


def test_unfinished_rows_go_on() -> None:
    def run(jobs: list[Job]) -> list[Job]:
        rest = []
        for one in jobs:
            one.generated.append(9)
            if len(one.generated) == 3:
                one.finish("length")
            else:
                rest.append(one)
        return rest

    assert asyncio.run(answers(run, 5, 2)) == [Answer([9, 9, 9], "length", None)] * 5


def test_a_dead_engine_fails_everyone_and_says_so_later() -> None:
    async def die() -> None:
        def run(jobs: list[Job]) -> list[Job]:
            raise EngineDeadError("the accelerator failed")

        batcher = Batcher(run, 2)
        made = [job(i) for i in range(5)]
        for one in made:
            batcher.submit(one)
        batcher.start()
        got = await asyncio.gather(*(j.future for j in made), return_exceptions=True)
        assert all(isinstance(one, EngineDeadError) for one in got)
        with pytest.raises(EngineDeadError, match="accelerator"):
            batcher.submit(job(9))
        batcher.close()

    asyncio.run(die())
