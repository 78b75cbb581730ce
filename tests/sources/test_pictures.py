"""Pictures of every kind that somebody has: what is accepted, what is refused, and how it comes out as RGB."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.errors import SourceError
from engine.pictures import FORMATS, PAD_COLOUR, PictureCaps, inspect, mime, pad_square, to_rgb
from tests.sources.make import encoded, noise, picture


def png_of(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing: a decompression bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def gif(frames: int) -> bytes:
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")[:frames]]
    return encoded(pages[0], "GIF", save_all=True, append_images=pages[1:])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats_are_known_by_content(kind: str) -> None:
    data = picture(size=(12, 7), kind=kind)
    found = inspect(data, "x.txt")
    assert (found.width, found.height, found.format) == (12, 7, kind)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.data is data


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF")],
)
def test_pixel_modes_become_rgb(mode: str, kind: str) -> None:
    data = picture(200, mode=mode, kind=kind)
    assert inspect(data, "x").format == kind
    assert to_rgb(data).mode == "RGB"


def test_16_bit_grey_is_scaled_from_its_fixed_range() -> None:
    """A conversion that clips at 255 would make all three white, one that stretches would make the first black."""
    values = np.array([[257, 32768, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(values), kind)
        inspect(data, "x")
        assert np.asarray(to_rgb(data))[0, :, 0].tolist() == [1, 128, 255]


def test_deep_greys_without_a_range_are_stretched() -> None:
    data = encoded(Image.fromarray(np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)), "TIFF")
    inspect(data, "x")
    assert np.asarray(to_rgb(data))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 2), (255, 0, 0, 0)).convert(mode)
    assert to_rgb(encoded(image)).getpixel((0, 0)) == (255, 255, 255)


def test_a_transparent_palette_colour_is_white() -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putpixel((1, 1), 1)
    shown = to_rgb(encoded(image, transparency=0))
    assert shown.getpixel((0, 0)) == (255, 255, 255)
    assert shown.getpixel((1, 1)) == (200, 0, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    from PIL import ImageOps

    image = noise((16, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "PNG", exif=exif)
    assert inspect(data, "x").width == 16
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert to_rgb(data).tobytes() == expected.tobytes()


def test_damaged_exif_leaves_the_picture_as_it_is() -> None:
    data = encoded(noise((16, 8)), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xee" * 40)
    assert inspect(data, "x").format == "JPEG"
    assert to_rgb(data).size == (16, 8)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animated_files_count_as_their_first_frame(kind: str) -> None:
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(pages[0], kind, save_all=True, append_images=pages[1:], duration=100)
    found = inspect(data, "x")
    assert found.format == f"{kind} animated"
    assert mime(found.format) == f"image/{kind.lower()}"
    red, green, blue = to_rgb(data).getpixel((4, 4))
    assert red > 240 > 20 > green + blue - 10


def test_a_single_frame_gif_is_not_animated() -> None:
    assert inspect(gif(1), "x").format == "GIF"


def test_a_phones_mpo_is_the_jpeg_that_it_opens_as() -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert inspect(data, "x").format == "JPEG"
    assert to_rgb(data).getpixel((0, 0))[0] > 240


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello", "found 5 bytes that begin with 68 65 6c 6c 6f, expected a picture"),
        (b"<!DOCTYPE html><html>", "found HTML"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"%PDF-1.7 x", "found a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "expected a picture"),
        (b"\x89PNG\r\n\x1a\n", "."),
        (bytes(100), "expected a picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_was_found(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match=words) as error:
        inspect(data, "folder/x.jpg")
    assert str(error.value).startswith("folder/x.jpg: ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_pictures_are_refused(kind: str, share: float) -> None:
    data = encoded(noise(), kind)
    with pytest.raises(SourceError, match=r"^cut: "):
        inspect(data[: int(len(data) * share)], "cut")


def test_bombs_are_refused_by_the_header() -> None:
    """Decoding these would take up to 10 GB; the refusal takes neither memory nor time."""
    for width, height in ((10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(SourceError, match=r"decompression bomb"):
            inspect(png_of(width, height), "bomb")


def test_caps_are_checked() -> None:
    data = picture(size=(40, 4))
    with pytest.raises(SourceError, match=r"has \d+ bytes; at most 10 are"):
        inspect(data, "x", PictureCaps(max_bytes=10))
    with pytest.raises(SourceError, match="40 x 4 = 160 pixels; at most 159"):
        inspect(data, "x", PictureCaps(max_pixels=159))
    with pytest.raises(SourceError, match="a side has at most 39"):
        inspect(data, "x", PictureCaps(max_side=39))
    with pytest.raises(SourceError, match=r"1 : 9\.5"):
        inspect(data, "x", PictureCaps(max_aspect=9.5))
    inspect(data, "x", PictureCaps(len(data), 160, 40, 10))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]), st.data())
def test_damaged_bytes_are_refused_or_readable(kind: str, data: st.DataObject) -> None:
    """Whatever `inspect` accepts, `to_rgb` decodes; nothing but SourceError comes out."""
    whole = bytearray(encoded(noise((24, 24)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        inspect(bytes(whole), "x")
    except SourceError:
        return
    assert to_rgb(bytes(whole)).mode == "RGB"


def test_to_rgb_raises_source_errors_only() -> None:
    with pytest.raises(SourceError, match="does not decode"):
        to_rgb(b"nothing")


def test_the_shipped_formats_all_open(tmp_path: Path) -> None:
    """FORMATS names plugins that this Pillow has: a misspelt one would be skipped in silence."""
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)


def test_pad_square_keeps_the_whole_picture_in_the_middle() -> None:
    wide = pad_square(Image.new("RGB", (10, 4), "red"))
    assert wide.size == (10, 10)
    assert [wide.getpixel((5, y)) for y in (0, 2, 3, 6, 7)] == [PAD_COLOUR] * 2 + [(255, 0, 0)] * 2 + [PAD_COLOUR]
    square = Image.new("RGB", (4, 4))
    assert pad_square(square) is square
