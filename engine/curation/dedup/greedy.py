"""The duplicates inside one partition: rows by rank, each compared with the rows that are kept so far.

A row is never compared with a dropped one, so chains end: where A ~ B and B ~ C but not A ~ C, B is dropped for A, and
C stays. The work is bounded by what is kept: a thousand rows that repeat one are a thousand comparisons, not a million.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.curation.dedup.options import DedupOptions, Duplicate, Kind
from engine.curation.dedup.pictures import PictureTable
from engine.curation.dedup.prefix import LARGER, SAME, Counts, Keys, bitmaps, most_apart, prefix_keys
from engine.curation.dedup.rows import Rows, list_keys
from engine.curation.dedup.text import FACTOR, I64, Shingles, jaccard, mix

MANY = 48
"""Candidates from which one numpy call beats a loop."""


class Verdict(NamedTuple):
    """Which kept row a row repeats (both by their place in the partition), and how."""

    kept: int
    kind: Kind
    similarity: float
    distance: int


def find(rows: Rows, table: PictureTable, counts: Counts, options: DedupOptions) -> list[Duplicate]:
    """All duplicates of a partition whose rows stand in the order of their rank."""
    if not len(rows.rank):
        return []
    first = exact_first(rows)
    chosen = np.flatnonzero(first == np.arange(len(first)))
    verdicts = Greedy(rows, chosen, table, counts, options).run()
    found: list[Duplicate] = []
    for row, original in enumerate(first.tolist()):
        verdict = verdicts.get(original)
        if verdict is None and original != row:
            verdict = Verdict(original, "exact", 1.0, 0)
        if verdict is not None:
            kept = int(rows.rank[verdict.kept])
            found.append(Duplicate(int(rows.rank[row]), kept, verdict.kind, verdict.similarity, verdict.distance))
    return found


def exact_first(rows: Rows) -> I64:
    """For each row the first row with the same pictures and normal form (itself, if it is the first)."""
    alike = list_keys(rows.pictures, rows.picture_offsets)
    both = mix(mix(rows.text[:, 0] * np.uint64(FACTOR) + rows.text[:, 1]) * np.uint64(FACTOR) + alike)
    order = np.argsort(both, kind="stable")  # equal rows stay in the order of rank
    text, alike = rows.text[order], alike[order]
    new = np.ones(len(order), bool)
    new[1:] = (text[1:] != text[:-1]).any(axis=1) | (alike[1:] != alike[:-1])
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return first


class Greedy:
    """One pass over the distinct rows of a partition."""

    def __init__(self, rows: Rows, chosen: I64, table: PictureTable, counts: Counts, options: DedupOptions) -> None:
        self._rows, self._chosen, self._table, self._options = rows, chosen, table, options
        self._sets: Shingles = rows.shingles.take(chosen)
        self._sizes: list[int] = self._sets.sizes().tolist()
        self._bitmaps = bitmaps(self._sets)
        self._bits: list[int] = self._bitmaps.tolist()
        self._meanings = Meanings(rows, chosen, options.semantic) if rows.embedding is not None else None
        keys = prefix_keys(self._sets, counts, options.threshold)
        grouped = mix(keys.values * np.uint64(FACTOR) + rows.group[chosen][keys.owners])
        self._shared = meetings(keys._replace(values=grouped))
        self._kept_of: defaultdict[int, list[int]] = defaultdict(list)

    def run(self) -> dict[int, Verdict]:
        """place in the partition -> verdict, of the rows that repeat a kept one."""
        found: dict[int, Verdict] = {}
        places: list[int] = self._chosen.tolist()
        active = set(self._shared)
        if self._meanings is not None:
            active |= self._meanings.active
        for row in sorted(active):
            match = self._by_text(row) or self._by_meaning(row)
            if match is not None:
                found[places[row]] = match._replace(kept=places[match.kept])
                continue
            for _, own in self._shared.get(row, ()):
                self._kept_of[own].append(row)
            if self._meanings is not None:
                self._meanings.keep(row)
        return found

    def _by_text(self, row: int) -> Verdict | None:
        """The kept row of the lowest rank whose text and pictures are near."""
        for other in self._candidates(row):
            distance = self._distance(row, other)
            if distance is None:
                continue
            similarity = jaccard(self._sets.one(row), self._sets.one(other))
            if similarity >= self._options.threshold:
                return Verdict(other, self._kind(row, other), similarity, distance)
        return None

    def _candidates(self, row: int) -> Iterator[int]:
        """Kept rows with a key of this one and nearly its elements, in the order of rank."""
        kept: set[int] = set()
        for other, _ in self._shared.get(row, ()):
            if other in self._kept_of:
                kept.update(self._kept_of[other])
        size, bits, threshold = self._sizes[row], self._bits[row], self._options.threshold
        if len(kept) > MANY:
            others = np.fromiter(kept, np.int64, len(kept))
            apart = np.bitwise_count(self._bitmaps[others] ^ self._bitmaps[row])
            sizes = self._sets.offsets[others + 1] - self._sets.offsets[others]
            most = (sizes + size) * (1 - threshold) / (1 + threshold) + 1e-9
            kept = set(others[apart <= most].tolist())
        for other in sorted(kept):
            if (bits ^ self._bits[other]).bit_count() <= most_apart(size, self._sizes[other], threshold):
                yield other

    def _by_meaning(self, row: int) -> Verdict | None:
        if self._meanings is None:
            return None
        for other, cosine in self._meanings.candidates(row):
            distance = self._distance(row, other)
            if distance is not None:
                return Verdict(other, "semantic", cosine, distance)
        return None

    def _pictures(self, row: int) -> list[int]:
        return self._rows.pictures_of(int(self._chosen[row]))

    def _distance(self, row: int, other: int) -> int | None:
        """The largest distance of two rows' pictures, one by one; None where one pair is not near."""
        ones, others = self._pictures(row), self._pictures(other)
        if len(ones) != len(others):
            return None
        most = 0
        for one, two in zip(ones, others, strict=True):
            distance = self._table.distance(one, two)
            if distance is None:
                return None
            most = max(most, distance)
        return most

    def _kind(self, row: int, other: int) -> Kind:
        texts = self._rows.text[self._chosen[[row, other]]]
        if (texts[0] == texts[1]).all():
            return "picture"  # equal pictures as well would have been an exact duplicate
        return "text" if self._pictures(row) == self._pictures(other) else "text+picture"


def meetings(keys: Keys) -> dict[int, list[tuple[int, int]]]:
    """row -> (slot where its partners stand, slot where it stands) for each key that brings it together with another
    row. A row that meets none is not in it: it is kept."""
    order = np.argsort(keys.values)
    values, owners, sides = keys.values[order], keys.owners[order], keys.sides[order]
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    own = 2 * (np.cumsum(new) - 1) + (sides == LARGER)
    opposite = np.where(sides == SAME, own, own ^ 1)
    standing = np.bincount(own, minlength=int(own.max(initial=0)) + 2)
    common = standing[opposite] > (sides == SAME)
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for row, *slots in zip(owners[common].tolist(), opposite[common].tolist(), own[common].tolist(), strict=True):
        found[row].append((slots[0], slots[1]))
    return dict(found)


class Meanings:
    """Embeddings of the kept rows, group by group."""

    def __init__(self, rows: Rows, chosen: I64, threshold: float | None) -> None:
        assert rows.embedding is not None
        self._threshold = threshold or 1.0
        self._vectors: npt.NDArray[np.float32] = rows.embedding[chosen]
        named = self._vectors.any(axis=1)
        numbers, sizes = np.unique(rows.group[chosen], return_inverse=True, return_counts=True)[1:]
        self._group: list[int] = numbers.tolist()
        self._size: list[int] = sizes.tolist()
        self.active: set[int] = set(np.flatnonzero(named & (sizes[numbers] > 1)).tolist())
        self._kept: defaultdict[int, list[int]] = defaultdict(list)
        self._tables: dict[int, npt.NDArray[np.float32]] = {}

    def keep(self, row: int) -> None:
        if row not in self.active:
            return
        group = self._group[row]
        if group not in self._tables:
            self._tables[group] = np.empty((self._size[group], self._vectors.shape[1]), np.float32)
        self._tables[group][len(self._kept[group])] = self._vectors[row]
        self._kept[group].append(row)

    def candidates(self, row: int) -> Iterator[tuple[int, float]]:
        """Kept rows of the group whose cosine reaches the threshold, in the order of rank."""
        kept = self._kept.get(self._group[row])
        if row not in self.active or not kept:
            return
        cosines = self._tables[self._group[row]][: len(kept)] @ self._vectors[row]
        for place in np.flatnonzero(cosines >= self._threshold - 1e-6).tolist():
            yield kept[place], min(1.0, float(cosines[place]))
