"""Train and validation, by groups of pictures: no picture stands in both, whatever is asked about it.

A group is drawn by the hash of its smallest picture, so a picture keeps its split when a later version adds rows, and
the preference pairs of a picture stand on the same side as its supervised rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

TRAIN, VALIDATION = "train", "validation"
NAMES = (TRAIN, VALIDATION)


class Splits:
    """Which split a row belongs to. `add` every row that shows several pictures first: they connect groups."""

    def __init__(self, share: float, seed: int = 0) -> None:
        self._limit = int(share * 2**64)
        self._salt = f"{seed}:".encode()
        self._parent: dict[str, str] = {}
        """Union-find over pictures of rows that show several; the smallest sha256 is the root."""

    @property
    def one(self) -> bool:
        """Whether everything is train."""
        return self._limit == 0

    def add(self, pictures: Sequence[str]) -> None:
        """The pictures (sha256) of one row belong together."""
        for other in pictures[1:]:
            low, high = sorted((self._root(pictures[0]), self._root(other)))
            if low != high:
                self._parent[high] = low

    def of(self, pictures: Iterable[str], query_id: str) -> str:
        """The split of a row; one without pictures is a group of its own."""
        if self.one:
            return TRAIN
        first = next(iter(pictures), None)
        key = query_id if first is None else self._root(first)
        drawn = int.from_bytes(hashlib.sha256(self._salt + key.encode()).digest()[:8])
        return VALIDATION if drawn < self._limit else TRAIN

    def _root(self, picture: str) -> str:
        path = [picture]
        while (above := self._parent.get(path[-1], path[-1])) != path[-1]:
            path.append(above)
        for passed in path[:-1]:
            self._parent[passed] = path[-1]
        return path[-1]
