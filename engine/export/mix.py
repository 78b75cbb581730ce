"""Utility rows for `--mix`: N of a third-party set, the same ones for the same seed whatever the order of the file.

Each row gets a rank: sha256 over the seed, its turns and its pictures' names. The N lowest ranks among the usable rows
are taken; a row is usable when its form is right, its pictures decode, and no row of the curated set (or of the mix, by
rank) asks the same text about the same pictures. One pass, memory for N rows (texts and picture names, not bytes).
Every row of wrong form is named; pictures are opened only for rows whose rank is low enough to be taken.

Not covered: near-duplicates (exact text and picture bytes only), harmful utility rows (use a cleaned set).
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from engine.errors import SourceError, UsageError
from engine.export.base import Dialogue
from engine.export.mix_form import FormError, Shaped, shape
from engine.export.mix_source import MixSource
from engine.pictures import inspect
from engine.types import query_id

NAMED = 20
"""Bad rows that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Mix:
    """The rows chosen. `bad` names unusable ones; `read`, `bad_rows` and `duplicates` count."""

    source: MixSource
    chosen: tuple[Shaped, ...]
    read: int
    bad_rows: int
    bad: tuple[str, ...]
    duplicates: int

    def rows(self) -> Iterator[Dialogue]:
        """The chosen rows by rank; pictures are read here, one row at a time."""
        for row in self.chosen:
            images = tuple(self.source.picture(picture) for picture in row.pictures)
            yield Dialogue(f"mix/{row.key}", f"mix:{self.source.name}", images, row.turns)


def choose(path: str, rows: int, seed: int, taken: Collection[bytes]) -> Mix:
    """`taken`: 32-byte query ids of the curated set. UsageError: nothing readable at `path`, or no usable row in it."""
    if rows < 1:
        raise UsageError(f"--mix-rows {rows}: expected 1 or more")
    chooser = _Chooser(MixSource(path), rows, seed, taken)
    for where, raw in chooser.source.rows():
        chooser.see(where, raw)
    if not chooser.heap:
        first = f"; the first: {chooser.bad[0]}" if chooser.bad else ""
        raise UsageError(
            f"--mix {path}: no usable row among {chooser.read:,} ({chooser.bad_rows:,} bad, {chooser.duplicates:,} "
            f"already in the curated set{first})"
        )
    ordered = [entry[1] for entry in sorted(chooser.heap, key=lambda entry: -entry[0])]
    return Mix(chooser.source, tuple(ordered), chooser.read, chooser.bad_rows, tuple(chooser.bad), chooser.duplicates)


class _Chooser:
    """A heap of the lowest ranks; its first entry is the highest of them (ranks stand negated)."""

    def __init__(self, source: MixSource, rows: int, seed: int, taken: Collection[bytes]) -> None:
        self.source, self._rows, self._seed, self._taken = source, rows, seed, taken
        self.heap: list[tuple[int, Shaped]] = []
        self._ranks: set[int] = set()
        self.read = self.bad_rows = self.duplicates = 0
        self.bad: list[str] = []

    def see(self, where: str, raw: object) -> None:
        self.read += 1
        try:
            row = shape(raw)
            rank = self._rank(row)
            if rank in self._ranks:
                self.duplicates += 1
                return
            if len(self.heap) == self._rows and rank > -self.heap[0][0]:
                return
            if self._is_taken(row):
                self.duplicates += 1
                return
        except (FormError, SourceError) as error:
            self._name(where, error)
            return
        self._push(rank, row)

    def _push(self, rank: int, row: Shaped) -> None:
        self._ranks.add(rank)
        pictures = tuple(self.source.kept(picture) for picture in row.pictures)
        heapq.heappush(self.heap, (-rank, row._replace(pictures=pictures)))
        if len(self.heap) > self._rows:
            self._ranks.discard(-heapq.heappop(self.heap)[0])

    def _rank(self, row: Shaped) -> int:
        whole = hashlib.sha256(f"{self._seed}".encode())
        for text in (*(turn.text for turn in row.turns), *(picture.name for picture in row.pictures)):
            whole.update(b"\0" + text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(whole.digest())

    def _is_taken(self, row: Shaped) -> bool:
        """Whether a question of the row stands in the curated set, on these pictures. SourceError: no picture."""
        digests = []
        for picture in row.pictures:
            data = self.source.picture(picture)
            digests.append(bytes.fromhex(inspect(data, picture.name).sha256))
        return any(
            bytes.fromhex(query_id(digests, turn.text)) in self._taken for turn in row.turns if turn.role == "user"
        )

    def _name(self, where: str, error: FormError | SourceError) -> None:
        self.bad_rows += 1
        if len(self.bad) < NAMED:
            self.bad.append(f"{where}: {error}")
