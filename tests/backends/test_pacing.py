"""Concurrency and waits."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime

import pytest

from engine.backends.pacing import LONGEST_WAIT_S, Aimd, parse_retry_after, wait_s

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("-1", 0.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_read(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


def test_waits_grow_with_jitter_and_stay_bounded() -> None:
    draw = random.Random(0)
    for attempt in range(20):
        waited = wait_s(attempt, None, draw)
        assert waited is not None
        assert 0 <= waited <= min(LONGEST_WAIT_S, 0.5 * 2**attempt)


def test_the_servers_wish_is_never_undercut_and_never_endless() -> None:
    waited = wait_s(0, "2", random.Random(0))
    assert waited is not None
    assert 2 <= waited <= 2.2
    assert wait_s(0, "86400", random.Random(0)) is None


def test_more_slots_for_answers_half_for_a_refusal_once_a_second() -> None:
    clock = [100.0]
    pace = Aimd(64, first=8, clock=lambda: clock[0])
    for _ in range(8):
        pace.answered()
    assert 8.9 < pace.limit < 9.1
    pace.refused()
    pace.refused()
    assert 4.4 < pace.limit < 4.6
    clock[0] += 2
    pace.refused()
    assert pace.limit < 2.3
    for _ in range(10):
        clock[0] += 2
        pace.refused()
    assert pace.limit == 1.0


def test_no_more_at_once_than_slots() -> None:
    async def many() -> int:
        pace = Aimd(100, first=3)
        busy = most = 0

        async def one() -> None:
            nonlocal busy, most
            async with pace.slot():
                busy += 1
                most = max(most, busy)
                await asyncio.sleep(0.001)
                busy -= 1

        await asyncio.gather(*(one() for _ in range(20)))
        return most

    assert asyncio.run(many()) == 3
