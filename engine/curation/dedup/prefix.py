"""Candidates: which texts can be near at all, without a false "no".

MinHash/LSH keeps the smallest shingle under each of many random orders and hopes that near texts share a few of them.
Here there is one order for all texts, rarest shingle first, and a text keeps not one but its p smallest: two sets of a
and b elements with Jaccard >= t share at least o = ceil(t / (1 + t) * (a + b)) of them, so under any order they share
one of the a - o + 1 smallest of the one and b - o + 1 smallest of the other (prefix filter: Chaudhuri, Ganti, Kaushik
2006; by size: Arasu, Ganti, Kaushik 2006). A key is such an element together with both sizes, and leads from a set of
the one size to sets of the other.

So no pair is missed, where MinHash misses some; a query of twelve words has 9 keys, where 128 permutations in 25 bands
have 25; and rows made from one template that are not near do not meet: they differ in more than their p smallest, and
these are the rare words that fill the template. MinHash collides on the template's own words and would compare every
row of it with every other. The order is counted first; that second look at the shingles is the price.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.curation.dedup.text import FACTOR, I64, U64, Shingles, mix

BUCKETS = 1 << 20
"""Counters of the frequency sketch (4 MiB). Two shingles in one counter only make both look more frequent."""
Counts = npt.NDArray[np.uint32]
EPS = 1e-9
"""Against 0.7 * 10 = 7.000000000000001: one key too many costs nothing, one too few would miss a pair."""


def count_shingles(sets: Shingles) -> Counts:
    """How often each counter's shingles occur; sums over parts are sums of counts."""
    buckets = (sets.values & np.uint64(BUCKETS - 1)).astype(np.int64)
    return np.bincount(buckets, minlength=BUCKETS).astype(np.uint32)


@cache
def size_classes() -> tuple[int, ...]:
    """Where classes of sizes begin: each size to 32 alone, then steps of a sixteenth, so that a long text has about one
    key a shingle and not one for each size that its like may have."""
    starts = [1]
    while starts[-1] < 1 << 40:
        starts.append(starts[-1] + max(1, starts[-1] // 16))
    return tuple(starts)


@cache
def prefixes(size: int, threshold: float) -> tuple[tuple[int, int], ...]:
    """(partner class, how many of its smallest elements a set of `size` shows to sets of that class)."""
    starts = size_classes()
    low, high = max(1, ceil(threshold * size - EPS)), floor(size / threshold + EPS)
    found = []
    for number in range(bisect_right(starts, low) - 1, bisect_right(starts, high)):
        least = max(starts[number], low)
        shared = ceil(threshold / (1 + threshold) * (size + least) - EPS)
        found.append((number, size - max(1, shared) + 1))
    return tuple(found)


class Keys(NamedTuple):
    """The keys of some sets, flat."""

    values: U64
    owners: I64
    """The set of each key."""
    sides: I64
    """SMALLER or LARGER where the key is for partners of another class than the set's own, else SAME."""


SMALLER, LARGER, SAME = 0, 1, 2


def prefix_keys(sets: Shingles, counts: Counts, threshold: float) -> Keys:
    """Sets with Jaccard >= threshold share a key with opposite sides, or with SAME, whatever `counts` are."""
    ordered = in_order(sets.values, counts)
    sizes = sets.sizes()
    keys: list[U64] = [np.empty(0, np.uint64)]
    owners: list[I64] = [np.empty(0, np.int64)]
    sides: list[I64] = [np.empty(0, np.int64)]
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        smallest = np.sort(ordered[sets.offsets[rows][:, None] + np.arange(size)], axis=1)
        own = bisect_right(size_classes(), size) - 1
        for partner, length in prefixes(size, threshold):
            pair = (min(own, partner) << 20 | max(own, partner)) + 1
            keys.append(mix(smallest[:, :length].ravel() * np.uint64(FACTOR) + np.uint64(pair)))
            owners.append(np.repeat(rows, length))
            side = SAME if own == partner else SMALLER if own < partner else LARGER
            sides.append(np.full(len(rows) * length, side))
    return Keys(np.concatenate(keys), np.concatenate(owners), np.concatenate(sides))


def in_order(values: U64, counts: Counts) -> U64:
    """Shingles as numbers that order them by frequency (20 bits), then by hash (44 bits). Two shingles with one number
    are one extra candidate at worst: the smallest numbers of a set are the same however such a tie is broken."""
    often = np.minimum(counts[(values & np.uint64(BUCKETS - 1)).astype(np.int64)], (1 << 20) - 1)
    found: U64 = (often.astype(np.uint64) << np.uint64(44)) | (values >> np.uint64(20))
    return found


def bitmaps(sets: Shingles) -> U64:
    """64 bits a set, one for each element's hash: two sets differ in at least as many elements as their bitmaps in bits
    (Sandes, Teodoro, Melo 2020), which refuses nearly every false candidate in one instruction."""
    bits = np.uint64(1) << (sets.values >> np.uint64(58))
    made: U64 = np.bitwise_or.reduceat(bits, sets.offsets[:-1]) if len(bits) else bits  # no set is empty
    return made


def most_apart(size: int, other: int, threshold: float) -> int:
    """How many elements two sets of these sizes may not share and still have Jaccard >= threshold."""
    return int((size + other) * (1 - threshold) / (1 + threshold) + EPS)
