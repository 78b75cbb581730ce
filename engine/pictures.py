"""Pictures: what is accepted, and the one preparation that every backend uses.

`inspect` runs once for each distinct picture, where the source is read, before anything is sent to a model. It
identifies the format by content (a wrong file ending does not matter), refuses by the header what is too large to
decode, and then decodes the first frame once. A picture that passes therefore decodes in the backend too: a
truncated file is an error of its row, named by the source, and never a crash of the engine. A JPEG is decoded at an
eighth of its size, which still reads every byte of the stream.

Covered: truncated, empty, over-large (decompression bomb) and non-picture bytes; animated files (the first frame
counts, and `Picture.format` says so); CMYK, 16-bit, palette, alpha and EXIF-rotated pictures are accepted as they are.
Not covered: colour profiles (ignored), vector formats and PDF (refused), damage that a decoder does not notice (a
flipped bit inside a JPEG changes the picture without an error).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from engine.errors import SourceError
from engine.types import Picture

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What is tried. A short list on purpose: Pillow would also open EPS (by running Ghostscript) and odd old formats."""

MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
"""Pixel modes that convert to RGB by themselves; 16- and 32-bit greys (`I…`, `F`) are scaled by `_eight_bits`."""

ANIMATED = " animated"
"""Suffix of `Picture.format` for a file of several frames, of which only the first is seen."""

PAD_COLOUR = (122, 116, 104)
"""The mean colour of CLIP's training pictures: what LLaVA pads with."""

ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class PictureCaps:
    """How large a picture may be. Every cap is checked before the picture is decoded."""

    max_bytes: int = 32 * 2**20
    """Above any photo of a phone (3 to 15 MB) and below a third of a row group of the sealed output (100 MB)."""

    max_pixels: int = 50_000_000
    """A 50-megapixel camera. Decoded it is 150 MB of RGB; a bomb declares hundreds of times that."""

    max_side: int = 16_384
    """Panoramas of phones end here; longer ones are strips that every processor shrinks to noise."""

    max_aspect: float = 200.0
    """Longer by shorter side. Qwen2-VL's processor raises above 200, others round a side to zero."""


DEFAULT_CAPS = PictureCaps()


class Header(NamedTuple):
    """What decoding found: pixels as stored (before the EXIF rotation), and the format by content."""

    width: int
    height: int
    format: str


SEEN_LIMIT = 4096

_SEEN: dict[tuple[bytes, PictureCaps], Header] = {}
"""Headers of pictures that passed, by content: two queries on one picture decode it once. About 200 bytes each."""


def inspect(data: bytes, name: str, caps: PictureCaps = DEFAULT_CAPS) -> Picture:
    """Check one picture's encoded bytes and describe it. `name` says in an error which picture it was.

    Raises SourceError for bytes that are empty, too large, no picture of FORMATS, truncated or undecodable.
    """
    if not data:
        raise SourceError(f"{name}: the picture is empty (0 bytes); expected an encoded picture")
    if len(data) > caps.max_bytes:
        raise SourceError(f"{name}: the picture has {len(data):,} bytes; at most {caps.max_bytes:,} are accepted")
    digest = hashlib.sha256(data)
    known = (digest.digest(), caps)
    header = _SEEN.get(known)
    if header is None:
        header = _decode(data, name, caps)
        if len(_SEEN) >= SEEN_LIMIT:
            _SEEN.clear()
        _SEEN[known] = header
    return Picture(data, digest.hexdigest(), header.width, header.height, header.format)


def to_rgb(data: bytes) -> Image.Image:
    """The picture as a model sees it: first frame, EXIF rotation applied, alpha over white, 8-bit RGB.

    The one preparation for generate, train and evaluate. Raises SourceError where the bytes do not decode, which
    `inspect` has ruled out for bytes that it accepted.
    """
    try:
        image = _open(data)
        image.load()
        return _on_white(_eight_bits(_upright(image)))
    except Exception as error:
        raise SourceError(f"the picture does not decode ({_reason(error)})") from error


def pad_square(image: Image.Image, colour: tuple[int, int, int] = PAD_COLOUR) -> Image.Image:
    """The picture in the middle of a square of `colour`: nothing is cropped or squeezed, as LLaVA trains."""
    from PIL import Image

    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def mime(picture_format: str) -> str:
    """The MIME type of a `Picture.format` ("PNG" -> "image/png"), for data URLs."""
    return "image/" + picture_format.removesuffix(ANIMATED).lower()


def _decode(data: bytes, name: str, caps: PictureCaps) -> Header:
    """Open, check the caps by the header, decode. Whatever a decoder raises on hostile bytes becomes a SourceError."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = _open(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SourceError(f"{name}: refused before decoding: {error}") from error
    except UnidentifiedImageError as error:
        raise SourceError(f"{name}: {_found(data)}, expected a picture ({', '.join(FORMATS)})") from error
    except Exception as error:
        raise SourceError(f"{name}: the picture's header does not parse ({_reason(error)})") from error
    _check_size(image.size, name, caps)
    _check_mode(image.mode, name)
    width, height = image.size
    try:
        kind = _format(image)
        image.draft(None, (max(1, width // 8), max(1, height // 8)))
        image.load()
    except Exception as error:
        raise SourceError(f"{name}: the {image.format} picture is truncated or damaged ({_reason(error)})") from error
    return Header(width, height, kind)


def _open(data: bytes) -> Image.Image:
    """Parse the header only; the pixels are decoded by `.load()`."""
    from PIL import Image

    _load_plugins()
    return Image.open(io.BytesIO(data), formats=FORMATS)


@cache
def _load_plugins() -> None:
    """Register FORMATS once. Without it Pillow would import every plugin it has at the first WebP."""
    from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

    assert all((AvifImagePlugin, TiffImagePlugin, WebPImagePlugin))
    Image.preinit()


def _check_size(size: tuple[int, int], name: str, caps: PictureCaps) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise SourceError(f"{name}: the picture is {width} x {height} pixels; expected at least 1 x 1")
    if width * height > caps.max_pixels:
        limit = f"{width:,} x {height:,} = {width * height:,} pixels; at most {caps.max_pixels:,} are decoded"
        raise SourceError(f"{name}: the picture declares {limit} (decompression bomb?); scale it down")
    if max(size) > caps.max_side:
        raise SourceError(f"{name}: the picture is {width:,} x {height:,}; a side has at most {caps.max_side:,} pixels")
    if max(size) > caps.max_aspect * min(size):
        limit = f"sides of at most 1 : {caps.max_aspect:g} are accepted; crop it"
        raise SourceError(f"{name}: the picture is {width:,} x {height:,}; {limit}")


def _check_mode(mode: str, name: str) -> None:
    if mode not in MODES and not mode.startswith(("I", "F")):
        raise SourceError(f"{name}: pixel mode {mode} has no conversion to RGB; save the picture as RGB")


def _format(image: Image.Image) -> str:
    """By content. A phone's MPO is a JPEG with further pictures behind it, and counts as the JPEG that it opens as."""
    if image.format == "MPO":
        return "JPEG"
    return f"{image.format}{ANIMATED if getattr(image, 'is_animated', False) else ''}"


def _found(data: bytes) -> str:
    """What stands there instead of a picture, in words that point at the cause."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "found HTML, XML or SVG"
    if start.startswith(b"version https://git-lfs"):
        return "found a Git LFS pointer (run `git lfs pull`)"
    if start.startswith(b"%pdf"):
        return "found a PDF"
    return f"found {len(data):,} bytes that begin with {data[:8].hex(' ')}"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF rotation. Damaged EXIF data leaves the picture as it is stored: it says nothing of the pixels."""
    from PIL import Image

    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # noqa: BLE001 - the EXIF parser raises nearly every type on damaged data
        return image
    turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    turns |= {6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    turn = turns.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(Image.Transpose[turn])


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey from its fixed range, other deep greys (which have none) from their own darkest to brightest.

    Pillow's own conversion clips at 255, which turns nearly every such picture white.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = (0.0, 65535.0) if _is_16_bit(image) else (float(values.min()), float(values.max()))
    scaled = (values - low) * (255.0 / ((high - low) or 1.0))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _is_16_bit(image: Image.Image) -> bool:
    """`I;16…`, and PNG's `I`, which older Pillow versions give for the same files."""
    return bool(image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"))


def _on_white(image: Image.Image) -> Image.Image:
    """RGB, with transparent parts over white: what a browser shows, where dropping the alpha shows hidden colours."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
