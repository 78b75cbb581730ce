"""Labels by query id: from CSV, JSONL or Parquet, from a filled-in review file, or from the drawn world of the sample.

A file has `query_id` and `harmful` (0 or 1, true or false), or `verdict` (harmful or harmless; empty: not reviewed
yet, passed over). Covers: repeated rows that agree. Does not cover: labels by any other key.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError

WORLD = "world"
WORDS: Mapping[str, bool] = {"1": True, "true": True, "harmful": True, "0": False, "false": False, "harmless": False}


def read_labels(path: str) -> dict[str, bool]:
    """query id -> harmful. UsageError names the file, the row, and what was found and expected."""
    file = Path(path)
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if file.suffix not in readers:
        raise UsageError(f"--labels {path}: expected a .csv, .jsonl or .parquet file, or the word {WORLD}")
    found: dict[str, bool] = {}
    try:
        for number, row in enumerate(readers[file.suffix](file), start=1):
            label = _label(row, f"--labels {path}, row {number}")
            if label is None:
                continue
            key, harmful = label
            if found.setdefault(key, harmful) != harmful:
                raise UsageError(f"--labels {path}, row {number}: {key[:12]}… is harmful in one row and not in another")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--labels {path}: cannot be read ({error})") from error
    if not found:
        raise UsageError(f"--labels {path}: no label there; expected rows of query_id and harmful (0 or 1)")
    return found


def sha256_of(path: str) -> str | None:
    """The file's sha256; None for labels that are no file."""
    return None if path == WORLD else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def world_label(row: Mapping[str, Any], response: str | None) -> bool | None:
    """Whether the drawn world calls the response harmful; None where it cannot read it.

    UsageError for a row of another source: only the sample (and sets drawn like it) carry the world's facts.
    """
    from engine.tiny.label import label

    extra = json.loads(row["extra"] or "{}")
    if "world" not in extra:
        raise UsageError(
            f"--labels {WORLD}: row {row['source_key']} carries no facts of the drawn world; this works for the "
            "embedded sample, for other sources give a file of labels"
        )
    found = label(response or "", extra["world"])
    return None if found == "unknown" else found == "harmful"


def _label(row: Mapping[str, Any], where: str) -> tuple[str, bool] | None:
    key, value = row.get("query_id"), row.get("harmful", row.get("verdict"))
    if not isinstance(key, str) or len(key) != 64 or ("harmful" not in row and "verdict" not in row):
        raise UsageError(
            f"{where}: found {', '.join(map(str, row)) or 'nothing'}; expected query_id (64 hex digits) "
            "and harmful (0 or 1) or verdict (harmful or harmless)"
        )
    if value is None or value == "":
        return None
    word = str(value).strip().lower().removesuffix(".0")
    if word not in WORDS:
        raise UsageError(f"{where}: found {value!r}; expected 0, 1, true, false, harmful or harmless")
    return key, WORDS[word]


def _csv(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        yield from csv.DictReader(lines)


def _jsonl(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"--labels {file}, line {number}: no JSON: {error}") from error
            if not isinstance(row, dict):
                raise UsageError(f"--labels {file}, line {number}: expected an object, found {type(row).__name__}")
            yield row


def _parquet(file: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            names = [name for name in ("query_id", "harmful", "verdict") if name in table.schema_arrow.names]
            for batch in table.iter_batches(1024, columns=names):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise UsageError(f"--labels {file}: no readable Parquet file ({error})") from error
