"""How fast to ask a server that is not ours: concurrency that adapts, and waits that respect what the server says."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
LONGEST_RETRY_AFTER_S = 300.0
"""A server that asks for a longer pause than this is out of order for this run: the request fails instead."""
CALM_S = 1.0
"""At most one cut a second: a burst of refusals is one event."""


class Aimd:
    """Additive increase, multiplicative decrease: one more slot for each full round of answers, half on a refusal.

    Starts low and finds the server's own limit; first come, first served. One event loop only.
    """

    def __init__(self, most: int, first: int = 8, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self.limit = float(min(first, most))
        self._busy = 0
        self._clock = clock
        self._cut_at = -CALM_S
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the slots there are at the moment."""
        async with self._freed:
            await self._freed.wait_for(lambda: self._busy < int(self.limit))
            self._busy += 1
        try:
            yield
        finally:
            async with self._freed:
                self._busy -= 1
                self._freed.notify_all()

    def answered(self) -> None:
        """The server kept up."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)

    def refused(self) -> None:
        """The server said 429 or 503, or did not answer in time."""
        now = self._clock()
        if now - self._cut_at >= CALM_S:
            self._cut_at = now
            self.limit = max(1.0, self.limit / 2)


def wait_s(attempt: int, retry_after: str | None, draw: random.Random, *, now: datetime | None = None) -> float | None:
    """Seconds before the next try: what `Retry-After` says (with a little jitter on top, never less), else
    exponential with full jitter. None where the server asks for more than LONGEST_RETRY_AFTER_S."""
    asked = parse_retry_after(retry_after, now=now)
    if asked is None:
        return draw.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt))
    if asked > LONGEST_RETRY_AFTER_S:
        return None
    return asked + draw.uniform(0, 0.1 * asked)


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header: a number, or an HTTP date. None for none or nonsense."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
