"""The distinct pictures of an input as a table of hashes in files, and which of them may be near one another.

    part-00000.head      one record (HEAD) a picture, as the hashing jobs wrote them
    part-00000.detail    4096 bytes a picture
    index.npy            all distinct pictures sorted by sha256: (sha256, pHash, dHash, flat, part, row)
    groups.npy           for each of them, the least picture of its group

Every process opens the files memory-mapped: 0.1 kB a distinct picture, and the details only of those that are compared.
A group is all pictures that a chain of near pairs connects. Groups only say who is compared with whom; whether two
pictures are near is asked of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.curation import hashes
from engine.curation.dedup.text import I64, U64, hash64
from engine.curation.hashes import PictureHash

HEAD = np.dtype([("sha", "S32"), ("phash", "<u8", 4), ("dhash", "<u8", 4), ("chroma", "u1", 128), ("flat", "?")])
INDEX = np.dtype(
    [("sha", "S32"), ("phash", "<u8", 4), ("dhash", "<u8", 4), ("flat", "?"), ("part", "<i4"), ("row", "<i8")]
)
BANDS = hashes.DHASH_RADIUS + 1
PAIRS_AT_ONCE = 1 << 20
LARGE_RUN = 256


def hash_part(folder: Path, part: int, pictures: Iterable[tuple[str, bytes]]) -> int:
    """Hash (sha256, encoded bytes) pairs into one part of the table. Returns how many."""
    count = 0
    with (folder / f"part-{part:05}.head").open("wb") as heads, (folder / f"part-{part:05}.detail").open("wb") as rest:
        for digest, data in pictures:
            look = hashes.try_look(data, digest)
            heads.write(_head(look.hash))
            rest.write(look.detail.tobytes())
            count += 1
    return count


def _head(found: PictureHash) -> bytes:
    words = [np.frombuffer(value, "<u8") for value in (found.phash, found.dhash)]
    chroma = np.frombuffer(found.chroma, np.uint8)
    return np.array([(bytes.fromhex(found.sha256), *words, chroma, found.flat)], HEAD).tobytes()


def build_index(folder: Path, parts: int) -> int:
    """Merge the parts: each distinct picture once, by its first part. Returns how many there are."""
    found = [np.zeros(0, INDEX)]
    for part in range(parts):
        heads = _records(folder / f"part-{part:05}.head", HEAD)
        index = np.zeros(len(heads), INDEX)
        for name in ("sha", "phash", "dhash", "flat"):
            index[name] = heads[name]
        index["part"], index["row"] = part, np.arange(len(heads))
        found.append(index)
    everything = np.concatenate(found)
    first = np.unique(everything["sha"], return_index=True)[1]
    np.save(folder / "index.npy", everything[first])
    return len(first)


def _records(path: Path, kind: Any) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:
        return np.zeros(0, kind)
    return np.memmap(path, dtype=kind, mode="r")


class PictureTable:
    """The table of one work folder. Pictures are numbered by their place in the order of sha256."""

    def __init__(self, folder: Path, radius: int = hashes.PHASH_RADIUS) -> None:
        self._folder, self._radius = folder, radius
        self._index = np.load(folder / "index.npy", mmap_mode="r")
        self._parts: dict[tuple[int, str], npt.NDArray[Any]] = {}
        self._known: dict[tuple[int, int], int | None] = {}

    def __len__(self) -> int:
        return len(self._index)

    @cached_property
    def _shas(self) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self._index["sha"])

    def numbers(self, digests: Sequence[str]) -> I64:
        """The number of each sha256; of one that the table lacks, a negative number of its own."""
        raw = [bytes.fromhex(digest) for digest in digests]
        wanted = np.array(raw, "S32")
        places = np.searchsorted(self._shas, wanted)
        inside = np.minimum(places, max(0, len(self) - 1))
        known = self._shas[inside] == wanted if len(self) else np.zeros(len(raw), bool)
        own = [-1 - (hash64(digest) >> 1) for digest in digests]
        return np.where(known, inside, np.array(own, np.int64))

    def get(self, digest: str) -> PictureHash | None:
        """The hashes of a picture, or None where the table lacks it."""
        number = int(self.numbers([digest])[0])
        if number < 0:
            return None
        head = self._head(number)
        words = (head["phash"].tobytes(), head["dhash"].tobytes(), head["chroma"].tobytes())
        return PictureHash(digest, *words, bool(head["flat"]))

    def distance(self, one: int, other: int) -> int | None:
        """pHash bits in which two pictures differ where every measure calls them near, else None. 0 if equal."""
        if one == other:
            return 0
        if one < 0 or other < 0:
            return None
        key = (min(one, other), max(one, other))
        if key not in self._known:
            if len(self._known) > 1 << 18:
                self._known.clear()
            self._known[key] = self._compare(*key)
        return self._known[key]

    def _compare(self, one: int, other: int) -> int | None:
        a, b = self._index[one], self._index[other]
        bits = int(np.bitwise_count(a["phash"] ^ b["phash"]).sum())
        if a["flat"] or b["flat"] or bits > self._radius:
            return None
        a, b = self._head(one), self._head(other)
        if int(np.bitwise_count(a["dhash"] ^ b["dhash"]).sum()) > hashes.DHASH_RADIUS:
            return None
        if _most(a["chroma"], b["chroma"]) > hashes.CHROMA_RADIUS:
            return None
        apart = _most(self._detail(one), self._detail(other))
        return bits if apart <= hashes.DETAIL_LIMIT * hashes.DETAIL_UNIT else None

    def _head(self, number: int) -> Any:
        return self._of_part(number, "head")

    def _detail(self, number: int) -> npt.NDArray[np.int8]:
        found: npt.NDArray[np.int8] = self._of_part(number, "detail")["detail"]
        return found

    def _of_part(self, number: int, ending: str) -> Any:
        place = self._index[number]
        key = (int(place["part"]), ending)
        if key not in self._parts:
            kind = HEAD if ending == "head" else np.dtype([("detail", "i1", hashes.SIDE**2)])
            self._parts[key] = _records(self._folder / f"part-{key[0]:05}.{ending}", kind)
        return self._parts[key][place["row"]]

    def near_pairs(self, band: int) -> Iterator[tuple[int, int]]:
        """Near pairs that agree in band `band` of the dHash. There is one band more than bits may differ, so each near
        pair agrees in one (pigeons and holes); the dHash is cut, since its radius is the smaller.

        Pairs that pairs before them connect already may be left out: the groups are the same.
        """
        sharp = np.flatnonzero(~np.asarray(self._index["flat"]))
        phash, dhash = (np.ascontiguousarray(self._index[name][sharp]) for name in ("phash", "dhash"))
        values = band_values(dhash, band)
        order = np.argsort(values, kind="stable")
        ends = np.flatnonzero(np.diff(values[order])) + 1
        starts, sizes = np.concatenate(([0], ends)), np.diff(np.concatenate(([0], ends, [len(order)])))
        joined = Groups()
        for size in np.unique(sizes).tolist():
            if size < 2:
                continue
            runs = order[starts[sizes == size][:, None] + np.arange(size)]
            for ones, others in _pairs(runs):
                close = _bits_apart(dhash, ones, others) <= hashes.DHASH_RADIUS
                ones, others = ones[close], others[close]
                close = _bits_apart(phash, ones, others) <= self._radius
                for one, other in zip(sharp[ones[close]].tolist(), sharp[others[close]].tolist(), strict=True):
                    if joined.root(one) != joined.root(other) and self._compare(one, other) is not None:
                        joined.join(one, other)
                        yield one, other


def _most(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


def _bits_apart(table: U64, ones: I64, others: I64) -> npt.NDArray[Any]:
    bits: npt.NDArray[Any] = np.bitwise_count(table[ones] ^ table[others]).sum(axis=1)
    return bits


def band_values(table: U64, band: int) -> U64:
    """Every BANDS-th bit of each hash, from bit `band` on, as one number: neighbouring cells fall apart."""
    bits = np.unpackbits(table.view(np.uint8).reshape(len(table), 32), axis=1)[:, band::BANDS]
    found: U64 = bits.astype(np.uint64) @ (np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64))
    return found


def _pairs(runs: I64) -> Iterator[tuple[I64, I64]]:
    """All pairs inside each row of a (runs, size) table, a bounded number at a time."""
    size = runs.shape[1]
    if size > LARGE_RUN:
        for run in runs:
            for place in range(size - 1):
                yield np.repeat(run[place], size - place - 1), run[place + 1 :]
        return
    left, right = np.triu_indices(size, 1)
    step = max(1, PAIRS_AT_ONCE // len(left))
    for start in range(0, len(runs), step):
        yield runs[start : start + step, left].ravel(), runs[start : start + step, right].ravel()


class Groups:
    """Union-find over numbers; a group is named by its least member."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}

    def root(self, number: int) -> int:
        while (above := self._above.get(number, number)) != number:
            self._above[number] = self._above.get(above, above)
            number = above
        return number

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        self._above[high] = low

    def named(self, count: int) -> I64:
        """(count,): the name of each number's group."""
        names = np.arange(count, dtype=np.int64)
        for number in self._above:
            names[number] = self.root(number)
        return names


def write_groups(folder: Path, count: int, pairs: Iterable[tuple[int, int]]) -> None:
    """Join near pairs to groups, into groups.npy."""
    groups = Groups()
    for one, other in pairs:
        groups.join(one, other)
    np.save(folder / "groups.npy", groups.named(count))
