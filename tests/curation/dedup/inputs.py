"""Inputs for `find_duplicates`: rows and pictures as Parquet files, and the brute-force answer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

import schemas
from engine.curation.dedup import DedupOptions, Duplicate
from engine.curation.dedup.text import jaccard, normal_form, shingles
from pipelines.dedup import find_duplicates

Row = tuple[str, tuple[str, ...]]
"""Text, sha256 of the pictures."""

ITEMS = pa.schema(
    [
        ("rank", pa.int64()),
        ("query_id", pa.string()),
        ("text", pa.string()),
        ("picture_sha256", pa.list_(pa.string())),
        ("embedding", pa.list_(pa.float32())),
    ]
)


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def write_items(
    folder: Path, rows: Sequence[Row], files: int = 1, embeddings: Sequence[list[float] | None] | None = None
) -> list[str]:
    """Rank = place in `rows`; dealt out over the files, in reverse, since order must not matter."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "rank": rank,
            "query_id": f"{rank:064x}",
            "text": text,
            "picture_sha256": list(pictures),
            "embedding": None if embeddings is None else embeddings[rank],
        }
        for rank, (text, pictures) in enumerate(rows)
    ]
    paths = [folder / f"items-{number}.parquet" for number in range(files)]
    for number, path in enumerate(paths):
        pq.write_table(pa.Table.from_pylist(records[number::files][::-1], ITEMS), path, row_group_size=700)
    return [str(path) for path in paths]


def write_pictures(folder: Path, pictures: Sequence[bytes], files: int = 1) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    schema = schemas.arrow_schema("picture")
    rows: list[dict[str, Any]] = [
        {
            "picture_sha256": digest(data),
            "image": {"bytes": data, "path": None},
            "width": 1,
            "height": 1,
            "format": "PNG",
        }
        for data in pictures
    ]
    paths = [folder / f"pictures-{number}.parquet" for number in range(files)]
    for number, path in enumerate(paths):
        pq.write_table(pa.Table.from_pylist(rows[number::files], schema), path)
    return [str(path) for path in paths]


def run(work: Path, rows: Sequence[Row], shown: Sequence[bytes] = (), **changes: Any) -> list[Duplicate]:
    """Deduplicate in this process."""
    embeddings = changes.pop("embeddings", None)
    items = write_items(work / "in", rows, embeddings=embeddings)
    return list(find_duplicates(items, write_pictures(work / "in", shown), DedupOptions(**changes), 1, work / "work"))


def truth(rows: Sequence[Row], threshold: float, n: int = 2) -> dict[int, int]:
    """rank -> kept rank for rows whose pictures agree only if equal: every row against every kept row."""
    sets = [shingles(text, n) for text, _ in rows]
    forms = [normal_form(text) for text, _ in rows]
    kept: list[int] = []
    found: dict[int, int] = {}
    for rank, (_, pictures) in enumerate(rows):
        for other in kept:
            near = forms[rank] == forms[other] or jaccard(sets[rank], sets[other]) >= threshold
            if near and pictures == rows[other][1]:
                found[rank] = other
                break
        else:
            kept.append(rank)
    return found


def photo(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Coloured noise with the spectrum of natural pictures."""
    rng = np.random.default_rng(seed)
    width, height = size
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    radius[0, 0] = 1
    layers = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(height, width))) / radius**1.3).real for _ in range(3)]
    channels = [layers[0] + 0.5 * layer for layer in layers]
    scaled = [(c - c.mean()) / c.std() * 40 + rng.uniform(90, 160) for c in channels]
    return Image.fromarray(np.stack(scaled, -1).clip(0, 255).astype(np.uint8))


def captioned(image: Image.Image, caption: str) -> Image.Image:
    """A meme: white letters with a black edge over the lower part."""
    made = image.copy()
    place = (12, made.size[1] - 48)
    font = ImageFont.load_default(28)
    ImageDraw.Draw(made).text(place, caption, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return made


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
