"""Perceptual hashes of pictures: what a copy of a picture keeps, and another picture does not have.

Three measures that fail in different ways, on the picture as a model sees it (first frame, upright, alpha on white):
- `phash`, 256 bits: signs of the 16 × 16 lowest cosine frequencies of a 64 × 64 grey picture against their median
  (pHash: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"). Layout and large forms.
- `dhash`, 256 bits: is a cell of a 16 × 16 grid brighter than the one to its left (Krawetz 2013). Edges, in place.
- `chroma`, 8 × 8 cells × (Cb, Cr): mean colour, to which the two grey hashes are blind.

8 × 8 hashes give strange false positives, hence 256 bits and agreement of all three.

Covers: other encoding and quality, other size, brightness and contrast of about 15 %. Does not cover, on purpose: crops
of more than 1 %, mirroring, rotation, a grey copy of a coloured picture: they stay, which is the harmless mistake. A
flat picture (one colour) has no edges to compare: it is equal to itself only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import SourceError
from engine.pictures import to_rgb

SIDE = 64
LOW = 16
FLAT = 2.0
"""Standard deviation of the 64 × 64 greys (0 to 255) below which the signs of a hash are noise."""

PHASH_MARGIN = 8.0
"""Deviations of the greys by which a frequency must exceed the median. A soft picture has nothing in its high
frequencies, and without a margin their bits would be noise."""
DHASH_STEP = 1.0
"""Greys (of 255) by which a cell must be brighter than its neighbour, for the same reason."""

PHASH_RADIUS = 24
"""Bits of 256. Of copies (JPEG and WebP from quality 50 on, size × 0.75 to 2, brightness and contrast ± 15 %) 99 in 100
stay within 21, and other pictures begin at 63; see docs/decisions/0007-dedup.md."""
DHASH_RADIUS = 12
"""Bits of 256; 99 in 100 copies stay within 11. Pictures that differ a little more are drawings on an empty ground."""
CHROMA_RADIUS = 20
"""Largest difference of one cell, 0 to 255. Copies stay within 13 (brightness scales colour too)."""

DETAIL_UNIT = 32
"""Steps of one standard deviation in `Look.detail`."""
DETAIL_LIMIT = 1.25
"""Standard deviations by which one of the 64 × 64 cells may differ. A meme with another caption differs by 1.3 to 3
there, in a few cells that no hash of the whole picture notices; copies of photographs stay within 0.8."""


@dataclass(frozen=True, slots=True)
class PictureHash:
    """The hashes of one picture; no picture can be drawn from it but an 8 × 8 blur of its colours."""

    sha256: str
    """Of the encoded bytes, 64 hex digits."""
    phash: bytes
    """32 bytes."""
    dhash: bytes
    """32 bytes."""
    chroma: bytes
    """128 bytes: 64 cells of Cb, then 64 of Cr."""
    flat: bool = False


class Look(NamedTuple):
    """A picture's hashes and its 64 × 64 greys, which stay in the work folder and are never shared."""

    hash: PictureHash
    detail: npt.NDArray[np.int8]
    """(4096,): greys minus their mean, in 1/32 of their standard deviation, cut at ± 4 deviations."""


def picture_hash(data: bytes) -> PictureHash:
    """Hash one picture from its encoded bytes. Raises SourceError where it does not decode."""
    return look(data).hash


def look(data: bytes, digest: str | None = None) -> Look:
    """Hash one picture and keep its greys. `digest`: its sha256 where that is known. Raises SourceError."""
    image = to_rgb(data)
    grey = image.convert("L")
    cells = _shrink(grey, SIDE, SIDE)
    flat = bool(cells.std() < FLAT)
    steps = _shrink(grey, LOW + 1, LOW)
    chroma = np.rint(_shrink(image.convert("YCbCr"), 8, 8)[..., 1:]).clip(0, 255).astype(np.uint8)
    scaled = (cells - cells.mean()) * (DETAIL_UNIT / max(float(cells.std()), 2 * FLAT))
    found = PictureHash(
        sha256=digest or sha256(data).hexdigest(),
        phash=_phash(cells),
        dhash=np.packbits(steps[:, 1:] > steps[:, :-1] + DHASH_STEP).tobytes(),
        chroma=chroma.transpose(2, 0, 1).tobytes(),
        flat=flat,
    )
    return Look(found, np.rint(scaled).clip(-127, 127).astype(np.int8).ravel())


def unreadable(digest: str) -> Look:
    """What stands for a picture that does not decode: equal to the same bytes only."""
    return Look(PictureHash(digest, bytes(32), bytes(32), bytes(128), True), np.zeros(SIDE * SIDE, np.int8))


def try_look(data: bytes, digest: str) -> Look:
    """`look`, or `unreadable`."""
    try:
        return look(data, digest)
    except SourceError:
        return unreadable(digest)


def distance(one: PictureHash, other: PictureHash, radius: int = PHASH_RADIUS) -> int | None:
    """Differing bits of the pHash where all three hashes call the pictures near, else None. 0 for the same bytes."""
    if one.sha256 == other.sha256:
        return 0
    if one.flat or other.flat:
        return None
    bits = hamming(one.phash, other.phash)
    if bits > radius or hamming(one.dhash, other.dhash) > DHASH_RADIUS:
        return None
    apart = np.frombuffer(one.chroma, np.uint8).astype(np.int16) - np.frombuffer(other.chroma, np.uint8)
    return bits if int(np.abs(apart).max()) <= CHROMA_RADIUS else None


def hamming(one: bytes, other: bytes) -> int:
    """Differing bits of two equally long byte strings."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _phash(cells: npt.NDArray[np.float64]) -> bytes:
    basis = _cosines()
    low = basis @ cells @ basis.T
    low[0, 0] = 0.0  # the mean brightness says nothing of the picture
    least = np.median(low.ravel()[1:]) + PHASH_MARGIN * cells.std()
    return np.packbits(low > least).tobytes()


@cache
def _cosines() -> npt.NDArray[np.float64]:
    """The 16 lowest rows of the DCT-II over 64 samples."""
    waves = np.pi * (2 * np.arange(SIDE)[None, :] + 1) * np.arange(LOW)[:, None] / (2 * SIDE)
    rows: npt.NDArray[np.float64] = np.cos(waves)
    return rows


def _shrink(image: Any, width: int, height: int) -> npt.NDArray[np.float64]:
    from PIL import Image

    # Large pictures by whole boxes first: Lanczos over ten megapixels would cost ten times the decoding.
    made = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(made, dtype=np.float64)
