"""Texts as sets of hashed word shingles.

Normal form: Unicode NFKC, case folded, words = runs of letters and digits (of any script; each character of Chinese,
Japanese and Korean is a word, since nothing separates words there), joined by one space. Punctuation, case, spacing and
how an accent is encoded do not matter; accents themselves, numbers and word order do. A text without any word (only
signs or emoji) is its own normal form.

A shingle is n words in a row, as a 64-bit hash; a text of up to n words is one shingle. Two different shingles share a
hash with a probability of 2^-64 a pair.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
MASK = (1 << 64) - 1
FACTOR = 0x9E3779B97F4A7C15
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""splitmix64 (Steele, Lea, Flood 2014): spreads every input bit over all output bits."""

_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
_SINGLE = "぀-ヿ㐀-䶿一-鿿가-힯豈-﫿"
_ANY = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}])[^\W_])+")
_KNOWN_WORDS = 1 << 18


class _WordHashes(dict[str, int]):
    """word -> 64-bit hash, remembered: a vocabulary is small beside the texts."""

    def __missing__(self, word: str) -> int:
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        value = self[word] = hash64(word)
        return value


_WORDS = _WordHashes()


class Shingles(NamedTuple):
    """The shingle sets of some texts: values[offsets[i]:offsets[i+1]] are those of text i, each once."""

    values: U64
    offsets: I64

    def sizes(self) -> I64:
        return np.diff(self.offsets)

    def one(self, row: int) -> frozenset[int]:
        return frozenset(self.values[self.offsets[row] : self.offsets[row + 1]].tolist())

    def take(self, rows: I64) -> Shingles:
        """The sets of these rows, in this order."""
        sizes = self.sizes()[rows]
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], sizes)
        return Shingles(self.values[places], offsets)


def words(text: str) -> list[str]:
    """The words of a text in its normal form."""
    if text.isascii():
        return text.translate(_ASCII).split()
    return _ANY.findall(unicodedata.normalize("NFKC", text).casefold())


def normal_form(text: str, found: Sequence[str] | None = None) -> str:
    """The text that exact comparison compares. `found`: its words, where they are known."""
    joined = " ".join(words(text) if found is None else found)
    return joined or unicodedata.normalize("NFKC", text).casefold().strip()


def hash64(text: str) -> int:
    """A stable 64-bit hash of a word or text."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def text_key(normal: str) -> bytes:
    """16 bytes that stand for a normal form."""
    return blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shingles(text: str, n: int, found: Sequence[str] | None = None) -> frozenset[int]:
    """The shingle set of one text."""
    found = words(text) if found is None else found
    if len(found) <= n:
        return frozenset([_fold([_WORDS[word] for word in found])] if found else [hash64(normal_form(text, found))])
    codes = [_WORDS[word] for word in found]
    return frozenset(_fold(codes[start : start + n]) for start in range(len(codes) - n + 1))


def _fold(codes: Sequence[int]) -> int:
    """The hash of some words in a row."""
    value = 0
    for code in codes:
        value = (value * FACTOR + code) & MASK
    value ^= value >> 30
    value = value * MIX_1 & MASK
    value ^= value >> 27
    value = value * MIX_2 & MASK
    return value ^ (value >> 31)


def mix(values: U64) -> U64:
    """`_fold`'s last part for arrays."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(MIX_1)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(MIX_2)
    return values ^ (values >> np.uint64(31))


def read_texts(texts: Sequence[str], n: int) -> tuple[U64, Shingles]:
    """(text keys as (rows, 2) uint64, shingle sets) of many texts: the same as `text_key` and `shingles` of each."""
    found = [words(text) for text in texts]
    keys = b"".join(
        text_key(" ".join(each) or normal_form(text, each)) for text, each in zip(texts, found, strict=True)
    )
    counts = np.fromiter(map(len, found), np.int64, len(found))
    codes = np.fromiter(map(_WORDS.__getitem__, chain.from_iterable(found)), np.uint64, int(counts.sum()))
    rows = np.repeat(np.arange(len(found)), counts)
    values, owners = _windows(codes, rows, n)
    short = np.flatnonzero(counts <= n)
    alone = [next(iter(shingles(texts[row], n, found[row]))) for row in short.tolist()]
    values = np.concatenate((values, np.array(alone, np.uint64)))
    owners = np.concatenate((owners, short))
    return np.frombuffer(keys, "<u8").reshape(-1, 2).astype(np.uint64), _unique(values, owners, len(found))


def _windows(codes: U64, rows: I64, n: int) -> tuple[U64, I64]:
    """The hashes of all n words in a row that belong to one text of more than n words, and that text's number."""
    size = len(codes) - n + 1
    if size <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    value = np.zeros(size, np.uint64)
    for place in range(n):
        value = value * np.uint64(FACTOR) + codes[place : place + size]
    inside = rows[:size] == rows[n - 1 : n - 1 + size]
    exactly_n = np.bincount(rows, minlength=int(rows[-1]) + 1)[rows[:size]] == n
    keep = inside & ~exactly_n
    return mix(value)[keep], rows[:size][keep]


def _unique(values: U64, owners: I64, count: int) -> Shingles:
    """Each value of an owner once, owners in order. Sorting one number for both is several times as fast as sorting by
    two; that two different pairs have one number is as likely as that two shingles have one hash."""
    both = mix(values * np.uint64(FACTOR) + owners.astype(np.uint64))
    order = np.argsort(both)
    both = both[order]
    keep = np.ones(len(values), bool)
    keep[order[1:][both[1:] == both[:-1]]] = False
    values, owners = values[keep], owners[keep]
    values = values[np.argsort(owners, kind="stable")]
    sizes = np.bincount(owners, minlength=count)
    return Shingles(values, np.concatenate(([0], np.cumsum(sizes))))


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """Shared by all of two sets that are not both empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
