"""Few rows out of many, in one pass and bounded memory."""

from __future__ import annotations

import heapq
import random
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Place(NamedTuple):
    """Where a transcript stands: the run's number on the command line, and its row in the sealed order."""

    run: int
    row: int


class Reservoir(Generic[T]):
    """A uniform sample of `size` items of a stream of any length (Vitter 1985, algorithm R), by a fixed seed."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = random.Random(seed)
        self._seen = 0
        self.items: list[T] = []

    def add(self, item: T) -> None:
        self._seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
            return
        place = self._random.randrange(self._seen)
        if place < self._size:
            self.items[place] = item


class Nearest(Generic[T]):
    """The `size` items of the smallest distance; of equal ones the earliest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[float, int, T]] = []
        self._count = 0

    def add(self, distance: float, item: T) -> None:
        self._count += 1
        entry = (-distance, -self._count, item)
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    @property
    def items(self) -> list[T]:
        """Nearest first."""
        return [item for _, _, item in sorted(self._heap, reverse=True)]
