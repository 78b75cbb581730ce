"""`--judge NAME=FILE`: annotations that were made elsewhere, from a Parquet file.

The file has `query_id` and any of `verdict`, `p`, `score`, `text`, `embedding`; further columns are passed over.
Covers: verdicts in our words (harmless, harmful, refused, answered, unknown), vectors of numbers. Does not cover: rows
of other runs, which are counted and left out, and several rows for one query id (an error: which one is meant?).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import UsageError
from engine.journal.index import Digests
from engine.journal.store import Store
from engine.judges.base import FIELDS
from engine.judges.files import FOLDER, Key, digests
from engine.parquet import TableWriter
from schemas import load

VALUES = ("verdict", "p", "score", "text", "embedding")
BATCH = 1024


def key_of(name: str, path: str, field: str | None) -> Key:
    """The key: the file's hash stands for judge, model and prompt. UsageError where there is no such file."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"--judge {name}={path}: cannot be read ({error.strerror})") from error
    return Key(name, f"file {Path(path).name}", digest, field or (FIELDS[2] if name == "embedding" else FIELDS[0]))


def bring_in(store: Store, key: Key, path: str, known: Digests) -> tuple[int, int]:
    """Write the file's rows as annotations; (rows of this run, rows of others). `known`: the run's ids, sorted.

    UsageError for a file that is no Parquet, lacks its columns, or holds a value that is not in our words.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = key.stem.rpartition("/")[2]
    taken = others = 0
    seen: list[Digests] = []
    try:
        with pq.ParquetFile(path) as table, TableWriter(store, FOLDER, "annotation", name_prefix=name) as writer:
            columns = _columns(table.schema_arrow, path)
            for batch in table.iter_batches(BATCH, columns=columns):
                rows = [_row(row, columns, path) for row in batch.to_pylist()]
                ids = digests(pa.array([row["query_id"] for row in rows], pa.string()))
                mine = np.isin(ids, known)
                seen.append(ids[mine])
                writer.write([{**asdict(key), **row} for row, keep in zip(rows, mine.tolist(), strict=True) if keep])
                taken, others = taken + int(mine.sum()), others + int((~mine).sum())
            _no_repeats(seen, path)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: found no readable Parquet file ({error})") from error
    return taken, others


def _columns(schema: Any, path: str) -> list[str]:
    found = [name for name in VALUES if name in schema.names]
    if "query_id" not in schema.names or not found:
        raise UsageError(
            f"{path}: found columns {', '.join(schema.names)}; expected query_id and one or more of {', '.join(VALUES)}"
        )
    return ["query_id", *found]


def _row(row: Mapping[str, Any], columns: Sequence[str], path: str) -> dict[str, Any]:
    """One row in the table's words. UsageError says which row and what is wrong."""
    found = {"query_id": row["query_id"], **{name: row[name] if name in columns else None for name in VALUES}}
    rules = load("annotation")["properties"]
    where = f"{path}: row {row['query_id']!r}"
    if not isinstance(found["query_id"], str) or len(found["query_id"]) != 64:
        raise UsageError(f"{where}: query_id is no sha256 of 64 hex digits")
    try:
        bytes.fromhex(found["query_id"])
    except ValueError as error:
        raise UsageError(f"{where}: query_id is no sha256 of 64 hex digits") from error
    if found["verdict"] not in rules["verdict"]["enum"]:
        words = ", ".join(str(word) for word in rules["verdict"]["enum"][:-1])
        raise UsageError(f"{where}: verdict is {found['verdict']!r}, expected one of {words}, or nothing")
    for name in ("p", "score"):
        value = found[name]
        if value is not None and not (isinstance(value, float | int) and 0 <= value <= 1):
            raise UsageError(f"{where}: {name} is {value!r}, expected a number from 0 to 1")
    if found["embedding"] is not None and not _is_vector(found["embedding"]):
        raise UsageError(f"{where}: embedding is no list of finite numbers")
    return found


def _is_vector(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(x, float | int) and math.isfinite(x) for x in value)


def _no_repeats(parts: Sequence[Digests], path: str) -> None:
    whole = np.concatenate([np.empty(0, "S16"), *parts])
    ids, counts = np.unique(whole, return_counts=True)
    if len(ids) != len(whole):
        raise UsageError(f"{path}: query id {bytes(ids[counts > 1][0]).hex()}… stands there more than once")
