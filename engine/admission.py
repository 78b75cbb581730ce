"""How many rows are in flight: a first-come semaphore in the backend's own unit (tokens of the KV cache, or rows).

ECSO's first three steps begin with the same picture. Too many rows in flight push each other's blocks out of the
prefix cache, and the picture is prefilled again; too few leave the engine idle. So a row enters when its longest step
fits beside those already in.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Admission:
    """Weighted, strictly first-come: a heavy row is never starved by light ones behind it. One event loop only."""

    def __init__(self, capacity: int) -> None:
        self.capacity = max(1, capacity)
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, cost: int) -> AsyncIterator[None]:
        """Hold `cost` of the capacity (a row heavier than everything holds it all, alone)."""
        cost = min(max(1, cost), self.capacity)
        await self._acquire(cost)
        try:
            yield
        finally:
            self._release(cost)

    async def _acquire(self, cost: int) -> None:
        if not self._waiting and self.held + cost <= self.capacity:
            self.held += cost
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((cost, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(cost)
            raise

    def _release(self, cost: int) -> None:
        self.held -= cost
        while self._waiting:
            waiting_cost, turn = self._waiting[0]
            if turn.done():  # cancelled while waiting
                self._waiting.popleft()
                continue
            if self.held + waiting_cost > self.capacity:
                return
            self._waiting.popleft()
            self.held += waiting_cost
            turn.set_result(None)
