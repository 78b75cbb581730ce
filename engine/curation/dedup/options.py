"""What counts as a duplicate, and what is said of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.curation import hashes
from engine.errors import UsageError

Kind = Literal["exact", "text", "picture", "text+picture", "semantic"]
"""What differs from the kept row: nothing, the text a little, the pictures a little, both; or only
the meaning agrees."""
KINDS: tuple[Kind, ...] = ("exact", "text", "picture", "text+picture", "semantic")


@dataclass(frozen=True, slots=True)
class DedupOptions:
    """Thresholds. Raises UsageError for values that mean nothing."""

    threshold: float = 0.8
    """Jaccard similarity of two texts' shingles from which they are near. With word pairs, 0.8 lets one changed word in
    twenty pass, or the last word of a short query; in a query of twelve words (VLGuard's median) another word in the
    middle gives 0.69: there a word usually is the subject ("pie flinging", "diary peeking"), and the row must stay."""
    shingle: int = 2
    """Words in a shingle, 2 or 3. Queries are short: longer shingles make every change of a word a new text, single
    words ignore order. A text of no more words than this is one shingle."""
    pictures: bool = True
    """Compare pictures by perceptual hash; False: only equal bytes agree."""
    picture_radius: int = hashes.PHASH_RADIUS
    """Bits of 256 in which the pHash may differ."""
    semantic: float | None = None
    """Cosine of `embedding` from which texts agree in meaning; None: not compared."""
    embedding: str = "embedding"
    """The judge whose vectors of the query are compared (NAME or NAME@VERSION, made by `annotate`)."""
    max_cluster: float = 0.5
    """Share of the set that one kept row may stand for (1,000 rows always may); more stops the curation. A set of which
    half is one row points at a mistake (one picture for all rows, a template in place of the text, a threshold near
    zero), and to go on would throw that half away without a word."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UsageError(f"dedup: threshold is {self.threshold}, expected above 0 and at most 1")
        if self.shingle not in (1, 2, 3, 4):
            raise UsageError(f"dedup: shingle is {self.shingle}, expected 1 to 4 words")
        if not 0 <= self.picture_radius <= 64:
            raise UsageError(f"dedup: picture_radius is {self.picture_radius}, expected 0 to 64 bits of 256")
        if not 0 < self.max_cluster <= 1:
            raise UsageError(f"dedup: max_cluster is {self.max_cluster}, expected above 0 and at most 1 (never stop)")
        if self.semantic is not None and not 0 < self.semantic <= 1:
            raise UsageError(f"dedup: semantic is {self.semantic}, expected above 0 and at most 1, or null")


class Duplicate(NamedTuple):
    """One row that is not kept, and the kept row that it repeats."""

    rank: int
    kept_rank: int
    kind: Kind
    similarity: float
    """Of the texts: Jaccard of the shingles, or the cosine where the kind is `semantic`."""
    distance: int
    """Of the pictures: the most pHash bits of 256 in which one pair differs; 0 for equal bytes."""
