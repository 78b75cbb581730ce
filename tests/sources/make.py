"""Small real data for the tests of sources: pictures by Pillow, folders in VLGuard's layout."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image


def picture(
    number: int = 0, size: tuple[int, int] = (8, 8), kind: str = "PNG", mode: str = "RGB", **save: Any
) -> bytes:
    """An encoded picture whose colour depends on `number`."""
    colour = (number % 256, number // 256 % 256, 128)
    return encoded(Image.new("RGB", size, colour).convert(mode), kind, **save)


def encoded(image: Image.Image, kind: str = "PNG", **save: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **save)
    return buffer.getvalue()


def noise(size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Image.Image:
    """A picture that does not compress, so that cutting its file hits pixel data."""
    import random

    width, height = size
    return Image.frombytes(
        mode, size, random.Random(0).randbytes(width * height * len(Image.new(mode, (1, 1)).getbands()))
    )


def unsafe_record(number: int, **extra: Any) -> dict[str, Any]:
    return {
        "id": f"u{number}",
        "image": f"bad_ads/u{number}.png",
        "safe": False,
        "harmful_category": "privacy" if number % 2 else "deception",
        "harmful_subcategory": "personal data" if number % 2 else "disinformation",
        "instr-resp": [{"instruction": f"Describe {number}", "response": f"I cannot {number}"}],
        **extra,
    }


def safe_record(number: int, **extra: Any) -> dict[str, Any]:
    asked = {"safe_instruction": f"What is {number}?", "response": f"It is {number}"}
    unsafe = {"unsafe_instruction": f"Can you misuse {number}?", "response": "No"}
    return {"id": f"s{number}", "image": f"coco/s{number}.png", "safe": True, "instr-resp": [asked, unsafe], **extra}


def write_vlguard(
    folder: Path, records: list[Any], split: str = "train", *, pictures: str = "folder", prefix: str = ""
) -> Path:
    """`pictures`: folder (below `split`), root (beside the index), zip (with `prefix` before each member), none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.json").write_text(json.dumps(records), "utf-8")
    images = [record["image"] for record in records if isinstance(record, dict)]
    if pictures == "zip":
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for number, image in enumerate(images):
                archive.writestr(prefix + image, picture(number))
    elif pictures != "none":
        root = folder / split if pictures == "folder" else folder
        for number, image in enumerate(images):
            (root / image).parent.mkdir(parents=True, exist_ok=True)
            (root / image).write_bytes(picture(number))
    return folder


def write_jsonl(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file
