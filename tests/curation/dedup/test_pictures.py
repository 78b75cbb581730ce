"""Picture hashes: copies are near, other pictures are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from engine.curation import hashes
from engine.curation.dedup.pictures import BANDS, Groups, PictureTable, build_index, hash_part
from engine.tiny import SAMPLE_DIR
from tests.curation.dedup.inputs import captioned, digest, encoded, photo

COPIES = {
    "jpeg 90": lambda image: encoded(image, "JPEG", quality=90),
    "jpeg 40": lambda image: encoded(image, "JPEG", quality=40),
    "webp": lambda image: encoded(image, "WEBP", quality=70),
    "smaller": lambda image: encoded(image.resize((240, 180), Image.Resampling.LANCZOS)),
    "larger": lambda image: encoded(image.resize((416, 312), Image.Resampling.BICUBIC)),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.1)),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.87)),
    "contrast": lambda image: encoded(ImageEnhance.Contrast(image).enhance(0.85)),
    "palette of 128": lambda image: encoded(image.quantize(128)),
}


def table(folder: Path, pictures: list[bytes]) -> PictureTable:
    pairs = [(digest(data), data) for data in pictures]
    assert hash_part(folder, 0, pairs[::2]) + hash_part(folder, 1, pairs[1::2]) == len(pictures)
    build_index(folder, 2)
    return PictureTable(folder)


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_near(tmp_path: Path, copy: str) -> None:
    images = [photo(seed) for seed in range(6)]
    originals, copies = [encoded(image) for image in images], [COPIES[copy](image) for image in images]
    found = table(tmp_path, originals + copies)
    for one, other in zip(originals, copies, strict=True):
        a, b = found.numbers([digest(one), digest(other)]).tolist()
        distance = found.distance(a, b)
        assert distance is not None
        assert 0 <= distance <= hashes.PHASH_RADIUS
        assert hashes.distance(hashes.picture_hash(one), hashes.picture_hash(other)) == distance


def test_another_picture_is_not(tmp_path: Path) -> None:
    found = table(tmp_path, [encoded(photo(seed)) for seed in range(20)])
    assert all(found.distance(a, b) is None for a in range(20) for b in range(a))


def test_another_sign_is_not_near(tmp_path: Path) -> None:
    """The sample's pictures are drawings of one style; only one drawing occurs twice."""
    files = sorted(SAMPLE_DIR.rglob("*.png"))[::4]
    distinct = {digest(data): data for data in (file.read_bytes() for file in files)}
    found = table(tmp_path, list(distinct.values()))
    groups = Groups()
    for band in range(BANDS):
        for one, other in found.near_pairs(band):
            groups.join(one, other)
    near = [(a, b) for a in range(len(found)) for b in range(a) if found.distance(a, b) is not None]
    assert {groups.root(a) == groups.root(b) for a, b in near} <= {True}
    assert len(near) <= 1


def test_another_caption_is_not_near(tmp_path: Path) -> None:
    """The hashes of the whole picture call many of these equal; the cells do not."""
    pictures = [captioned(photo(seed), words) for seed in range(8) for words in ("diary peeking", "a pie is flung")]
    found = table(tmp_path, [encoded(picture) for picture in pictures])
    assert all(found.distance(a, b) is None for a in range(16) for b in range(a))


def test_another_colour_is_not_near() -> None:
    image = photo(3)
    swapped = Image.merge("RGB", image.split()[::-1])
    assert hashes.distance(hashes.picture_hash(encoded(image)), hashes.picture_hash(encoded(swapped))) is None


def test_a_flat_picture_is_near_only_to_itself() -> None:
    one, other = (hashes.picture_hash(encoded(Image.new("RGB", (40, 40), colour))) for colour in ("red", "#fe0000"))
    assert one.flat
    assert hashes.distance(one, other) is None
    assert hashes.distance(one, one) == 0


def test_near_pairs_are_those_of_all_pairs(tmp_path: Path) -> None:
    """Bands miss nothing: copies of copies, compared one by one and through the bands, give the same groups."""
    pictures = [make(photo(seed)) for seed in range(5) for make in list(COPIES.values())[:6]]
    found = table(tmp_path, pictures)
    by_band, by_pair = Groups(), Groups()
    for band in range(BANDS):
        for one, other in found.near_pairs(band):
            by_band.join(one, other)
    for a in range(len(found)):
        for b in range(a):
            if found.distance(a, b) is not None:
                by_pair.join(a, b)
    assert by_band.named(len(found)).tolist() == by_pair.named(len(found)).tolist()
    assert len(set(by_band.named(len(found)).tolist())) == 5


def test_what_does_not_decode_is_itself_only(tmp_path: Path) -> None:
    found = table(tmp_path, [b"no picture", b"neither"])
    assert found.distance(0, 1) is None
    assert found.distance(0, 0) == 0
    missing = found.numbers(["00" * 32, "11" * 32, digest(b"neither")]).tolist()
    assert missing[0] != missing[1]
    assert missing[0] < 0 <= missing[2]
    assert found.get("00" * 32) is None
    one = encoded(photo(1))
    (tmp_path / "again").mkdir()
    assert table(tmp_path / "again", [one]).get(digest(one)) == hashes.picture_hash(one)
