"""How many rows are in flight: a first-come semaphore in the backend's own unit (tokens of the KV cache, or rows).

ECSO's first three steps begin with the same picture. Too many rows in flight push each other's blocks out of the
prefix cache, and the picture is prefilled again; too few leave the engine idle. So a row enters when its longest step
fits beside those already in. Rows on one picture come one after the other and share the picture's blocks, so what the
picture costs is counted once for all of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple


class Claim(NamedTuple):
    """What one row asks for: `own` for itself, and `shared` once for all rows in flight with the same `key`. It waits
    while `rows` others are in flight, where that is given."""

    own: int
    key: str = ""
    shared: int = 0
    rows: int | None = None


class Admission:
    """Weighted, strictly first-come: a heavy row is never starved by light ones behind it. One event loop only."""

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self.held = 0
        self.rows = 0
        self._sharing: dict[str, list[int]] = {}
        """key -> [rows that hold it, what it costs]"""
        self._waiting: deque[tuple[Claim, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, claim: Claim) -> AsyncIterator[None]:
        """Hold that much of the capacity (a row heavier than everything holds it all, alone)."""
        shared = min(max(0, claim.shared), self.capacity - 1) if claim.key else 0
        claim = claim._replace(own=min(max(1, claim.own), self.capacity - shared), shared=shared)
        await self._acquire(claim)
        try:
            yield
        finally:
            self._release(claim)

    def _needs(self, claim: Claim) -> int:
        return claim.own + (0 if claim.key in self._sharing else claim.shared)

    def _fits(self, claim: Claim) -> bool:
        return self.held + self._needs(claim) <= self.capacity and (claim.rows is None or self.rows < claim.rows)

    def _take(self, claim: Claim) -> None:
        self.held += self._needs(claim)
        self.rows += 1
        if claim.shared:
            self._sharing.setdefault(claim.key, [0, claim.shared])[0] += 1

    async def _acquire(self, claim: Claim) -> None:
        if not self._waiting and self._fits(claim):
            self._take(claim)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(claim)
            raise

    def _release(self, claim: Claim) -> None:
        self.held -= claim.own
        self.rows -= 1
        if claim.shared:
            entry = self._sharing[claim.key]
            entry[0] -= 1
            if not entry[0]:
                self.held -= entry[1]
                del self._sharing[claim.key]
        while self._waiting:
            waiting, turn = self._waiting[0]
            if turn.done():  # cancelled while waiting
                self._waiting.popleft()
                continue
            if not self._fits(waiting):
                return
            self._waiting.popleft()
            self._take(waiting)
            turn.set_result(None)
