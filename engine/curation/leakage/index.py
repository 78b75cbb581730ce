"""Hashes of a benchmark, and the question whether a row is in it.

A row leaks where its text or one of its pictures stands in the benchmark:
- `exact`: the same text in normal form (case, punctuation, spacing aside; `dedup/text.py`).
- `text`: Jaccard similarity of the word pairs of at least 0.8, as in deduplication.
- `contained`: a benchmark prompt of at least 9 words (8 word pairs) of which at least 90 % of the word pairs stand in
  the row's text, however long that is. Shorter prompts are phrases of everyday language.
- `picture`: a picture near one of the benchmark's by all three hashes (`curation/hashes.py`).
- `text+picture`: both.

Covers: copies, small changes, other encodings of a picture, prompts pasted into longer ones. Does not cover:
paraphrases, translations, crops. A meme template with another caption counts as the picture, since the greys that tell
captions apart are not shared; here a row too many dropped is cheaper than a benchmark spoiled.

What the hashes give away: no text can be read from them and no search engine or crawler can find one; but word pairs
can be guessed, hashed and looked up, so that somebody with patience can recover most texts. Pictures cannot be
recovered beyond an 8 × 8 blur of their colours and a 16 × 16 pattern of light and dark. Keys (file names and row
numbers) are kept as they are. Treat an index of a confidential benchmark as confidential.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil, floor
from typing import Literal, NamedTuple

import numpy as np

from engine.curation import hashes
from engine.curation.dedup.prefix import EPS, bitmaps, count_shingles, in_order
from engine.curation.dedup.text import Shingles, normal_form, shingles, text_key, words
from engine.curation.hashes import PictureHash

SHINGLE = 2
NEAR = 0.8
CONTAINED = 0.9
LONG = 8
"""Word pairs from which a prompt may be found inside another."""
MANY = 48
REMEMBERED = 1 << 16

MatchKind = Literal["exact", "text", "contained", "picture", "text+picture"]
KINDS: tuple[MatchKind, ...] = ("exact", "text", "contained", "picture", "text+picture")


class Entry(NamedTuple):
    """One row of a benchmark while it is read: where it stands, its text, its pictures' hashes."""

    key: str
    text: str | None
    pictures: tuple[PictureHash, ...] = ()


class Match(NamedTuple):
    """What a row has in common with a benchmark."""

    kind: MatchKind
    benchmark: str
    key: str
    """Of the entry: the text's where the text matched, else the picture's."""
    similarity: float
    """Of the texts: 1 if exact, Jaccard, or the contained share; of the pictures: equal bits of 256 of the pHash."""


class Found(NamedTuple):
    """A match of one kind of content."""

    kind: MatchKind
    key: str
    similarity: float


class Texts(NamedTuple):
    """The distinct texts of a benchmark."""

    keys: list[str]
    text_keys: list[bytes]
    shingles: Shingles


class Index:
    """A benchmark's hashes, ready to be asked. Building it from a file of 10,000 texts takes a moment."""

    def __init__(self, name: str, texts: Texts, pictures: Sequence[tuple[str, PictureHash]]) -> None:
        self.name, self.texts, self.pictures = name, texts, list(pictures)
        self._exact = {key: row for row, key in reversed(list(enumerate(texts.text_keys)))}
        self._sizes: list[int] = texts.shingles.sizes().tolist()
        self._bitmaps = bitmaps(texts.shingles)
        self._bits: list[int] = self._bitmaps.tolist()
        self._rare = _rare_shingles(texts.shingles)
        self._phashes = np.frombuffer(b"".join(found.phash for _, found in self.pictures), "<u8").reshape(-1, 4)
        self._same = {found.sha256: row for row, (_, found) in reversed(list(enumerate(self.pictures)))}
        self._known: dict[str, Found | None] = {}

    @classmethod
    def of(cls, name: str, entries: Iterable[Entry]) -> Index:
        """Hash the entries. A text or picture that occurs twice is kept once, under its first key."""
        texts: dict[bytes, tuple[str, frozenset[int]]] = {}
        pictures: dict[str, tuple[str, PictureHash]] = {}
        for entry in entries:
            if entry.text is not None:
                found = words(entry.text)
                key = text_key(normal_form(entry.text, found))
                if key not in texts:
                    texts[key] = (entry.key, shingles(entry.text, SHINGLE, found))
            for picture in entry.pictures:
                pictures.setdefault(picture.sha256, (entry.key, picture))
        sets = [each for _, each in texts.values()]
        values = np.array([value for each in sets for value in sorted(each)], np.uint64)
        offsets = np.concatenate(([0], np.cumsum([len(each) for each in sets], dtype=np.int64))).astype(np.int64)
        keys = [key for key, _ in texts.values()]
        return cls(name, Texts(keys, list(texts), Shingles(values, offsets)), list(pictures.values()))

    def match(self, query: str, picture_hashes: Sequence[PictureHash] = ()) -> Match | None:
        """What this row has in common with the benchmark, or None."""
        text = self._text(query)
        picture = next(filter(None, map(self._picture, picture_hashes)), None)
        if text is not None and picture is not None:
            return Match("text+picture", self.name, text.key, text.similarity)
        found = text or picture
        return None if found is None else Match(found.kind, self.name, found.key, found.similarity)

    def _text(self, query: str) -> Found | None:
        found = words(query)
        same = self._exact.get(text_key(normal_form(query, found)))
        if same is not None:
            return Found("exact", self.texts.keys[same], 1.0)
        asked = shingles(query, SHINGLE, found)
        best: Found | None = None
        for row in self._candidates(asked):
            match = self._compare(asked, row)
            if match is not None and (best is None or match.similarity > best.similarity):
                best = match
        return best

    def _candidates(self, asked: frozenset[int]) -> list[int]:
        """Entries with a rare shingle of the query that can lack no more elements than either rule allows."""
        rows = {row for value in asked & self._rare.keys() for row in self._rare[value]}
        if not rows:
            return []
        bits = 0
        for value in asked:
            bits |= 1 << (value >> 58)
        if len(rows) > MANY:
            places = np.fromiter(rows, np.int64, len(rows))
            missing = np.bitwise_count(self._bitmaps[places] & ~np.uint64(bits))
            sizes = self.texts.shingles.sizes()[places]
            rows = set(places[missing <= np.floor((1 - NEAR) * sizes + EPS)].tolist())
        return sorted(row for row in rows if (self._bits[row] & ~bits).bit_count() <= _missing(self._sizes[row]))

    def _compare(self, asked: frozenset[int], row: int) -> Found | None:
        shared = len(asked & self.texts.shingles.one(row))
        size = self._sizes[row]
        similarity = shared / (len(asked) + size - shared)
        if similarity >= NEAR:
            return Found("text", self.texts.keys[row], similarity)
        if size >= LONG and shared / size >= CONTAINED:
            return Found("contained", self.texts.keys[row], shared / size)
        return None

    def _picture(self, asked: PictureHash) -> Found | None:
        """The nearest picture. One comparison with all pHashes (32 bytes each), once a distinct picture."""
        if asked.sha256 not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[asked.sha256] = self._nearest(asked)
        return self._known[asked.sha256]

    def _nearest(self, asked: PictureHash) -> Found | None:
        same = self._same.get(asked.sha256)
        if same is not None:
            return Found("picture", self.pictures[same][0], 1.0)
        if asked.flat or not self.pictures:
            return None
        bits = np.bitwise_count(self._phashes ^ np.frombuffer(asked.phash, "<u8")).sum(axis=1)
        close = np.flatnonzero(bits <= hashes.PHASH_RADIUS)
        for row in close[np.argsort(bits[close], kind="stable")].tolist():
            key, found = self.pictures[row]
            distance = hashes.distance(asked, found)
            if distance is not None:
                return Found("picture", key, 1 - distance / 256)
        return None


def _missing(size: int) -> int:
    """How many elements of an entry a query may lack at most: by NEAR, since CONTAINED is stricter."""
    return floor((1 - NEAR) * size + EPS)


def _rare_shingles(sets: Shingles) -> dict[int, list[int]]:
    """shingle -> entries among whose rarest it is. A query that shares at least 0.8 of an entry's shingles has one of
    its |E| - ceil(0.8 |E|) + 1 rarest (the prefix filter of `dedup/prefix.py`, the whole query on the other side)."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    if len(sets.values) == 0:
        return {}
    order = in_order(sets.values, count_shingles(sets))
    for row, (start, stop) in enumerate(zip(sets.offsets[:-1].tolist(), sets.offsets[1:].tolist(), strict=True)):
        size = stop - start
        rarest = np.argsort(order[start:stop], kind="stable")[: size - ceil(NEAR * size - EPS) + 1]
        for value in sets.values[start:stop][rarest].tolist():
            found[value].append(row)
    return dict(found)
