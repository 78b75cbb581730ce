"""An index as one Parquet file: a row a text or picture, hashes only, the benchmark's name in the file's metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.curation.dedup.text import Shingles
from engine.curation.hashes import PictureHash
from engine.curation.leakage.index import SHINGLE, Index, Texts
from engine.errors import OutputError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Raised when normal form, shingles or picture hashes change: an index of another version matches nothing."""
LABEL = b"ecso_leakage"
HOW_TO = "make one with `engine.leakage index`"


def _schema() -> pa.Schema:
    import pyarrow as pa

    fields: list[tuple[str, Any]] = [
        ("key", pa.string()),
        ("text_key", pa.binary(16)),
        ("shingles", pa.list_(pa.uint64())),
        ("picture_sha256", pa.string()),
        ("phash", pa.binary(32)),
        ("dhash", pa.binary(32)),
        ("chroma", pa.binary(128)),
        ("flat", pa.bool_()),
    ]
    return pa.schema(fields)


def save(index: Index, file: str | Path) -> None:
    """Write an index. Raises OutputError where the file cannot be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = index.texts
    rows: list[dict[str, Any]] = [
        {"key": key, "text_key": text, "shingles": sorted(texts.shingles.one(row))}
        for row, (key, text) in enumerate(zip(texts.keys, texts.text_keys, strict=True))
    ]
    rows += [
        {"key": key, "picture_sha256": p.sha256, "phash": p.phash, "dhash": p.dhash, "chroma": p.chroma, "flat": p.flat}
        for key, p in index.pictures
    ]
    label = {"version": VERSION, "name": index.name, "shingle": SHINGLE}
    schema = _schema().with_metadata({LABEL: json.dumps(label).encode()})
    try:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), file, compression="zstd")
    except OSError as error:
        raise OutputError(f"{file}: the index cannot be written ({error.strerror or error})") from error


def load(file: str | Path) -> Index:
    """Read an index. Raises UsageError where the file is none, or of another version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(
            f"{file}: no readable leakage index ({error}); make one with `engine.leakage index`"
        ) from error
    found = (table.schema.metadata or {}).get(LABEL)
    if found is None:
        raise UsageError(f"{file}: a Parquet file, but no leakage index; {HOW_TO}")
    label = json.loads(found)
    if (label["version"], label["shingle"]) != (VERSION, SHINGLE):
        raise UsageError(f"{file}: a leakage index of version {label['version']}, expected {VERSION}; make it again")
    texts = table.filter(pa.compute.field("text_key").is_valid())
    pictures = table.filter(pa.compute.field("picture_sha256").is_valid()).to_pylist()
    return Index(label["name"], _texts(texts), [(row["key"], _picture(row)) for row in pictures])


def _texts(table: pa.Table) -> Texts:
    import pyarrow as pa
    import pyarrow.compute as pc

    lists = table.column("shingles")
    sizes = np.asarray(pc.list_value_length(lists)).astype(np.int64)
    values = np.asarray(pc.list_flatten(lists)).astype(np.uint64) if len(lists) else np.zeros(0, np.uint64)
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    keys = table.column("text_key").cast(pa.binary()).to_pylist()
    return Texts(table.column("key").to_pylist(), keys, Shingles(values, offsets))


def _picture(row: dict[str, Any]) -> PictureHash:
    return PictureHash(row["picture_sha256"], row["phash"], row["dhash"], row["chroma"], row["flat"])
