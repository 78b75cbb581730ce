"""Benchmarks as they lie on a disk, read into entries: where each stands, its text, its pictures' hashes.

Tried in this order:
1. VLGuard's layout (`test.json` with `instr-resp`, pictures in a folder or zip): the reader of `--queries vlguard`. The
   split is `test` where there is one: the benchmark is what a model is judged by.
2. Parquet (a file, or a folder with Parquet files): the reader of `--queries parquet`; `columns` maps its columns.
3. A folder with `queries.jsonl`, `metadata.csv` and so on: the reader of `--queries folder`.
4. Anything else is walked: every JSON, JSON Lines, CSV and TSV file gives the texts of the fields in TEXT_FIELDS at any
   depth (MM-SafetyBench's `Changed Question`, `Rephrased Question(SD)`; FigStep's, VLSafe's, SIUO's, MOSSBench's
   questions), every picture file, also inside a zip, its hashes.

What stands there and cannot be read (a file that is no JSON, a broken line, a picture that does not decode) is told by
name to the caller: it would be missing from the index in silence.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.curation import hashes
from engine.curation.hashes import PictureHash
from engine.curation.leakage.index import Entry
from engine.errors import SourceError, UsageError
from engine.pictures import DEFAULT_CAPS
from engine.sources import SourceConfig, SourceRow, open_source
from engine.sources.fields import parse_columns
from engine.sources.folder import INDEX_NAMES

TEXT_FIELDS = frozenset(
    [
        *("text", "query", "question", "prompt", "instruction", "safe_instruction", "unsafe_instruction"),
        *("goal", "behavior", "jailbreak_query", "redteam_query", "original_query"),
        *("changed question", "rephrased question", "rephrased question(sd)"),
    ]
)
"""Names of fields (in lower case) that hold a text put to a model."""
PICTURES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"])
TEXTS = frozenset([".json", ".jsonl", ".csv", ".tsv"])


def read_benchmark(path: Path, split: str | None = None, columns: str = "", *, lost: list[str]) -> Iterator[Entry]:
    """The entries of a benchmark; places that cannot be read go to `lost`. Raises UsageError where the path is missing
    or holds neither text nor picture."""
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder, expected a benchmark")
    found = 0
    for entry in _entries(path, split, columns, lost):
        found += 1
        yield entry
    if not found:
        known = ", ".join(sorted(TEXT_FIELDS))
        raise UsageError(f"{path}: found no pictures and no text; fields that are read: {known}; or pass --columns")


def _entries(path: Path, split: str | None, columns: str, lost: list[str]) -> Iterator[Entry]:
    vlguard = _vlguard_split(path, split)
    if vlguard is not None:
        folder = path if path.is_dir() else path.parent
        return _from_source(SourceConfig("vlguard", str(folder), vlguard), lost)
    mapping = parse_columns(columns) or None
    if path.suffix == ".parquet" or (path.is_dir() and any(path.rglob("*.parquet"))):
        return _from_source(SourceConfig("parquet", str(path), split, mapping), lost)
    if path.is_dir() and any((path / name).is_file() for name in INDEX_NAMES):
        return _from_source(SourceConfig("folder", str(path), split, mapping), lost)
    return _walk(path, lost)


def _vlguard_split(path: Path, split: str | None) -> str | None:
    """The split to read where this is VLGuard's layout."""
    if path.is_file():
        return path.stem if path.suffix == ".json" and _is_vlguard(path) else None
    wanted = [split] if split else ["test", *sorted(file.stem for file in path.glob("*.json"))]
    return next((name for name in wanted if _is_vlguard(path / f"{name}.json")), None)


def _is_vlguard(file: Path) -> bool:
    try:
        records = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(records, list) and any(isinstance(each, dict) and "instr-resp" in each for each in records[:20])


def _from_source(config: SourceConfig, lost: list[str]) -> Iterator[Entry]:
    """The rows of one of the engine's own sources. Texts count even where their picture is missing."""
    seen: dict[str, PictureHash | None] = {}
    for window in open_source(config).windows():
        for row in window.rows():
            if row.problem is not None:
                lost.append(row.key)
            yield Entry(row.key, row.text or None, tuple(filter(None, _hashes(row, seen, lost))))


def _hashes(row: SourceRow, seen: dict[str, PictureHash | None], lost: list[str]) -> Iterator[PictureHash | None]:
    for reference in row.pictures:
        if reference.name not in seen:
            try:
                seen[reference.name] = hashes.picture_hash(reference.read(DEFAULT_CAPS.max_bytes))
            except SourceError:
                seen[reference.name] = None
                lost.append(reference.name)
        yield seen[reference.name]


def _walk(path: Path, lost: list[str]) -> Iterator[Entry]:
    """Every file below a folder, or one file."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    root = path.parent if path.is_file() else path
    for file in files:
        key = str(file.relative_to(root))
        if file.suffix.lower() == ".zip":
            yield from _zipped(file, key, lost)
        elif file.suffix.lower() in PICTURES | TEXTS:
            yield from _file_entries(key, file.read_bytes(), lost)


def _zipped(file: Path, key: str, lost: list[str]) -> Iterator[Entry]:
    try:
        with zipfile.ZipFile(file) as archive:
            for name in sorted(archive.namelist()):
                if Path(name).suffix.lower() in PICTURES | TEXTS:
                    yield from _file_entries(f"{key}/{name}", archive.read(name), lost)
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file}: found no readable zip ({error}), expected a benchmark's files") from error


def _file_entries(key: str, data: bytes, lost: list[str]) -> Iterator[Entry]:
    suffix = Path(key).suffix.lower()
    if suffix in PICTURES:
        try:
            yield Entry(key, None, (hashes.picture_hash(data),))
        except SourceError:
            lost.append(key)
        return
    for place, record in _records(key, suffix, data.decode("utf-8-sig", "replace"), lost):
        yield from (Entry(f"{key}:{at}", text) for at, text in _texts(record, str(place)))


def _records(key: str, suffix: str, text: str, lost: list[str]) -> Iterable[tuple[int | str, Any]]:
    """(place, record) of a file."""
    if suffix in (".csv", ".tsv"):
        return enumerate(csv.DictReader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ","))
    if suffix == ".jsonl":
        lines = ((place, line) for place, line in enumerate(text.split("\n"), 1) if line.strip())
        parsed = ((place, _json(line, f"{key}:{place}", lost)) for place, line in lines)
        return ((place, record) for place, record in parsed if record is not None)
    whole = _json(text, key, lost)
    return enumerate(whole) if isinstance(whole, list) else whole.items() if isinstance(whole, dict) else []


def _json(text: str, place: str, lost: list[str]) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        lost.append(place)
        return None


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """(place, text) of every field of a known name, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str):
                if str(name).strip().lower() in TEXT_FIELDS and inner.strip():
                    yield f"{place}#{name}", inner
            else:
                yield from _texts(inner, f"{place}#{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}.{number}")
