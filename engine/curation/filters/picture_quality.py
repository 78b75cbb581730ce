"""picture_quality: pictures that show nothing: too small, of one colour, or unreadable (off unless named).

Covers: a side under `min_side` pixels (reason picture_tiny); levels that spread less than `min_spread` in every channel
(picture_blank); bytes that are no picture (picture_unreadable). Transparent parts count as white.
Does not cover: blur, noise, heavy compression, pictures that do not fit their query.
Default: off: generation refuses unreadable pictures already, and this filter decodes every picture once. `min_side` 32
(LLaVA's vision tower sees 14-pixel patches of 336); `min_spread` 8 of 255 levels, more than JPEG adds to a blank page.
The spread is of the extremes, so that one small dark word on white is enough to stay.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from engine.curation.filters.base import Drop, Filter, Row, require
from engine.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image


def picture_quality(pictures: Callable[[str], bytes] | None = None, min_side: int = 32, min_spread: int = 8) -> Filter:
    """`pictures`: sha256 (hex) to encoded bytes, given by the pipeline; its errors pass through.

    `min_side`: pixels; `min_spread`: levels, 1 to 255. UsageError without `pictures`.
    """
    if pictures is None:
        raise UsageError("filter picture_quality needs the pictures: it runs in curate only, not by itself")
    require("min_side", min_side >= 1, "1 or more")
    require("min_spread", 1 <= min_spread <= 255, "1 to 255")

    def run(row: Row) -> Drop | None:
        for sha in row.get("picture_sha256") or ():
            found = _fault(pictures(sha), min_side, min_spread)
            if found is not None:
                return Drop(found[0], f"{sha[:12]}: {found[1]}")
        return None

    return run


def _fault(data: bytes, min_side: int, min_spread: int) -> tuple[str, str] | None:
    from PIL import Image

    try:
        with Image.open(BytesIO(data)) as picture:
            width, height = picture.size
            if min(width, height) < min_side:
                return "picture_tiny", f"{width} x {height} pixels"
            spread = _spread(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return "picture_unreadable", str(error)[:100]
    return ("picture_blank", f"levels spread {spread}") if spread < min_spread else None


def _spread(picture: Image.Image) -> int:
    """Difference of the highest and the lowest level of the channel where it is largest, 0 to 255, on white."""
    from PIL import Image

    whole = picture.convert("RGBA") if picture.mode in ("RGBA", "LA", "PA", "P") else picture
    if whole.mode == "RGBA":
        whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    levels = [channel.getextrema() for channel in whole.convert("RGB").split()]
    return int(max(high - low for low, high in levels))
