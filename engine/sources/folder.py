"""A folder of pictures beside a JSON Lines or CSV file that names them.

    {"text": "What is this?", "image": "a.png", "category": "privacy", "label_safe": false, "reference": "I cannot"}

Columns are found by the names in `fields.NAMES`, or mapped. `image` is a path below the folder of the index file, a
list of them, or absent (a query of text alone). Further columns go to `extra`. A bad line is a bad row.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sources.fields import Columns, Place, as_label, checked_columns, find_column, require_text, row_from
from engine.sources.lines import (
    MAX_LINE,
    Line,
    Span,
    csv_records,
    open_at,
    open_text,
    read_lines,
    scan_rows,
    sha256_of,
)
from engine.sources.records import Source, SourceConfig, SourceRow, Window, bad_row, quoted
from engine.sources.refs import FileRef, printable

INDEX_NAMES = ("queries.jsonl", "metadata.jsonl", "queries.csv", "metadata.csv")
SNIFFED = 20
"""Lines read before anything starts: if none of them is a JSON object, the file is no JSON Lines at all."""


@dataclass(frozen=True, slots=True)
class Index:
    """One index file as a task needs it: where it is and how to read it."""

    path: str
    size: int
    split: str
    columns: Columns = ()
    header: tuple[str, ...] | None = None
    """The columns of a CSV file; None for JSON Lines."""

    @property
    def root(self) -> str:
        return str(Path(self.path).parent)

    @property
    def file(self) -> str:
        return printable(Path(self.path).name)

    def place(self, line: int) -> Place:
        key = f"{self.file}:{line}"
        return Place(line - 1, key, f"{printable(self.path)}:{line}", "folder", self.split)


@dataclass(frozen=True, slots=True)
class LineWindow:
    """A byte range of whole lines."""

    index: Index
    span: Span

    @property
    def count(self) -> int:
        return self.span.rows

    def rows(self) -> Iterator[SourceRow]:
        index = self.index
        with open_at(Path(index.path), index.size, self.span.start) as file:
            lines = read_lines(file, self.span.end, self.span.first_line)
            yield from csv_rows(index, lines) if index.header else json_rows(index, lines)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """An opened index file."""

    index: Index
    spans: tuple[Span, ...]
    sha256: str
    name: str = "folder"

    def identity(self) -> dict[str, str | None]:
        path, file = printable(self.index.root), self.index.file
        return {
            "source": self.name,
            "path": path,
            "split": self.index.split,
            "index": file,
            "index_sha256": self.sha256,
        }

    def windows(self) -> list[Window]:
        return [LineWindow(self.index, span) for span in self.spans]


def open_source(config: SourceConfig) -> Source:
    """Find and scan the index file. Raises UsageError where there is none, or it is neither JSON Lines nor CSV."""
    if config.path is None:
        raise UsageError("--queries folder: no --path given, expected a folder with queries.jsonl or queries.csv")
    path = find_index(Path(config.path), config.split)
    columns = checked_columns(config.columns)
    with open_text(path) as file:
        start, lines = file.tell(), read_lines(file)
        header = _read_header(path, lines) if path.suffix.lower() in (".csv",) else None
        if header is None:
            _sniff_json(path, lines, columns)
            file.seek(start)
            spans = scan_rows(read_lines(file))
        else:
            require_text(header, columns, str(path))
            spans = scan_rows(line for line, _ in csv_records(lines))
    index = Index(str(path), path.stat().st_size, config.split or "", columns, header)
    return FolderSource(index, tuple(spans), sha256_of(path))


def find_index(path: Path, split: str | None) -> Path:
    """The index file: `path` itself, or the one in it (`SPLIT.jsonl`, `SPLIT/queries.jsonl`, `queries.jsonl`, …)."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"--path {path}: no such folder or file")
    if split is not None:
        inside = path / split
        names = [path / f"{split}{ending}" for ending in (".jsonl", ".csv")] + [inside / name for name in INDEX_NAMES]
        found = [name for name in names if Path(split).name == split and name.is_file()]
    else:
        found = [path / name for name in INDEX_NAMES if (path / name).is_file()]
        found = found or sorted([*path.glob("*.jsonl"), *path.glob("*.csv")])
    if len(found) != 1:
        what = ", ".join(file.name for file in found[:10]) or "none"
        of_split = f" for --split {split}" if split else ""
        expected = f"expected one of {', '.join(INDEX_NAMES)}, or give the file itself as --path"
        raise UsageError(f"--path {path}: index files found{of_split}: {what}; {expected}")
    return found[0]


def json_rows(index: Index, lines: Iterator[Line]) -> Iterator[SourceRow]:
    for line in lines:
        if line.raw is None or line.raw.strip():
            yield _json_row(index, line)


def csv_rows(index: Index, lines: Iterator[Line]) -> Iterator[SourceRow]:
    for line, record in csv_records(lines):
        if line.raw is None or record:
            yield _csv_row(index, line, record)


def _json_row(index: Index, line: Line) -> SourceRow:
    place = index.place(line.number)
    try:
        record = parse_json(line)
    except ValueError as error:
        kind = type(error).__name__
        return bad_row(place.index, place.key, f"{place.where}: {error}", kind, source=place.source, split=place.split)
    return row_from(record, place, index.columns, partial(FileRef, index.root))


def parse_json(line: Line) -> dict[str, Any]:
    """The JSON object of one line. Raises ValueError that says what was found."""
    if line.raw is None:
        raise ValueError(f"found a line of {line.end - line.start:,} bytes, expected at most {MAX_LINE:,}")
    try:
        text = line.raw.decode()
    except UnicodeDecodeError as error:
        found = f"byte 0x{line.raw[error.start]:02x} at column {error.start + 1}"
        raise ValueError(f"found {found}, which is no UTF-8; save the file as UTF-8") from error
    try:
        record = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"malformed JSON ({error}): found {quoted(text.strip())}, expected one object") from error
    if not isinstance(record, dict):
        raise ValueError(f"found {quoted(record)}, expected a JSON object")
    return record


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _csv_row(index: Index, line: Line, cells: list[str] | csv.Error) -> SourceRow:
    place = index.place(line.number)
    header = index.header or ()
    problem = None
    if line.raw is None:
        problem = f"found a line of {line.end - line.start:,} bytes, expected at most {MAX_LINE:,}"
    elif isinstance(cells, csv.Error):
        problem = f"malformed CSV ({cells}); an opened quote takes all lines up to the closing one"
    elif len(cells) != len(header):
        problem = f"found {len(cells)} fields, expected {len(header)} ({', '.join(header)})"
    if problem is not None or isinstance(cells, csv.Error):
        message = f"{place.where}: {problem}"
        return bad_row(place.index, place.key, message, "CsvError", source=place.source, split=place.split)
    record: dict[str, Any] = dict(zip(header, (cell or None for cell in cells), strict=True))
    label = find_column("label_safe", header, index.columns)
    if label is not None:
        record[label] = as_label(record[label])
    text = find_column("text", header, index.columns)
    if text is not None and record[text] is None:
        record[text] = ""
    return row_from(record, place, index.columns, partial(FileRef, index.root))


def _read_header(path: Path, lines: Iterator[Line]) -> tuple[str, ...]:
    """The first line of a CSV file. Raises UsageError where it is none."""
    line = next(lines, None)
    _, cells = next(csv_records(iter([line] if line else [])), (line, []))
    if isinstance(cells, csv.Error) or not cells:
        raise UsageError(f"{path}: found no header line, expected the names of the columns in the first line")
    if len(set(cells)) != len(cells):
        raise UsageError(f"{path}: a column name stands twice in the header: {', '.join(cells)}")
    return tuple(printable(cell.strip()) for cell in cells)


def _sniff_json(path: Path, lines: Iterator[Line], columns: Columns) -> None:
    """Refuse a file that is no JSON Lines, or whose first rows have no text, before anything starts."""
    first: Exception | None = None
    seen: dict[str, None] = {}
    for line in islice((line for line in lines if line.raw is None or line.raw.strip()), SNIFFED):
        if not seen and first is None and (line.raw or b"").lstrip().startswith(b"["):
            raise UsageError(f"{path}: found a JSON list, expected JSON Lines: one object a line, no brackets around")
        try:
            seen |= dict.fromkeys(parse_json(line))
        except ValueError as error:
            first = first or ValueError(f"line {line.number}: {error}")
    if seen:
        text_only = tuple(pair for pair in columns if pair[0] == "text")
        require_text(seen, text_only, f"{path} (first {SNIFFED} lines)")
    elif first is not None:
        raise UsageError(f"{path}: found no JSON Lines ({first}), expected one JSON object a line")
