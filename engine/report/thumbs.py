"""Small copies of the few pictures that the page shows.

Re-encoded, so that neither metadata nor anything but pixels of a source file travels in a report, and small enough
that the page keeps its size whatever the pictures were.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from engine.curation.reading import Run, open_table
from engine.errors import SourceError
from engine.pictures import to_rgb

BUDGET = 1_500_000
"""Bytes of encoded pictures in one page (a third more in base64), a picture shown twice counted twice."""
MOST = 24_000
"""Bytes of one thumbnail: 256 pixels of an ordinary photo."""
LADDER = ((256, 72), (256, 50), (192, 45), (128, 40), (64, 30), (32, 20))
"""(longest side in pixels, WebP quality), tried from the top until the bytes fit."""


class Thumb(NamedTuple):
    """A picture in the page. `uri` is None where the bytes do not decode."""

    sha256: str
    uri: str | None
    width: int
    height: int


def thumbnails(runs: Sequence[Run], shown: Collection[str]) -> dict[str, Thumb]:
    """sha256 -> thumbnail of what is `shown` (with repetitions), one row group of pictures in memory at a time.

    Pictures that no run has are left out.
    """
    found: dict[str, Thumb] = {}
    limit = min(MOST, BUDGET // max(1, len(shown)))
    for sha, data in _pictures(runs, set(shown)):
        found[sha] = thumbnail(sha, data, limit)
    return found


def thumbnail(sha: str, data: bytes, limit: int = MOST) -> Thumb:
    """One picture as a WebP of at most `limit` bytes where the ladder reaches that far."""
    from PIL import Image

    try:
        image = to_rgb(data)
    except SourceError:
        return Thumb(sha, None, 0, 0)
    encoded, size = b"", image.size
    for side, quality in LADDER:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=quality, method=4)
        encoded, size = buffer.getvalue(), small.size
        if len(encoded) <= limit:
            break
    return Thumb(sha, "data:image/webp;base64," + base64.b64encode(encoded).decode(), *size)


def _pictures(runs: Sequence[Run], wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for run in runs:
        for file in run.files("pictures"):
            if not wanted:
                return
            with open_table(run.store, file["path"]) as table:
                for group in range(table.num_row_groups):
                    yield from _of_group(table, group, wanted)


def _of_group(table: Any, group: int, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    """The wanted pictures of one row group, taken off `wanted`. The bytes are read only where there are any."""
    shas = table.read_row_group(group, columns=["picture_sha256"]).column(0).to_pylist()
    rows = [(row, sha) for row, sha in enumerate(shas) if sha in wanted]
    if not rows:
        return
    images = table.read_row_group(group, columns=["image"]).column(0)
    for row, sha in rows:
        if sha in wanted:
            wanted.discard(sha)
            yield sha, images[row].as_py()["bytes"]
