"""Text files as windows of whole lines: a byte range each, so that any task can open its own part.

One scan counts the rows and hashes the file; it never holds more than one line. Files are split at line ends, so every
row is in exactly one window, and each window knows the number of its first line for error messages.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from engine.errors import UsageError

MAX_LINE = 16 * 2**20
"""Bytes of one line; a longer one is a bad row, so that a file without line ends does not fill the memory."""

WINDOW_ROWS = 256
WINDOW_BYTES = 2**20
BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line (or CSV record, which may span lines) and where it stands."""

    number: int
    """From 1 on."""
    start: int
    end: int
    raw: bytes | None
    """None where it is longer than MAX_LINE."""


@dataclass(frozen=True, slots=True)
class Span:
    """A byte range of whole rows."""

    start: int
    end: int
    first_line: int
    rows: int


def read_lines(file: IO[bytes], end: int | None = None, first_line: int = 1) -> Iterator[Line]:
    """The lines from where the file stands up to byte `end`."""
    position, number = file.tell(), first_line
    while end is None or position < end:
        raw = file.readline(MAX_LINE + 1)
        if not raw:
            return
        start, length, whole = position, len(raw), len(raw) <= MAX_LINE
        while not raw.endswith(b"\n") and len(raw) == MAX_LINE + 1:
            raw = file.readline(MAX_LINE + 1)
            length += len(raw)
        position += length
        yield Line(number, start, position, raw if whole else None)
        number += 1


def scan_rows(rows: Iterable[Line], window_rows: int = WINDOW_ROWS, window_bytes: int = WINDOW_BYTES) -> list[Span]:
    """Group rows into spans. Blank lines are no rows; they fall between spans or inside one."""
    spans: list[Span] = []
    first: Line | None = None
    count = end = 0
    for row in rows:
        if row.raw is not None and not row.raw.strip():
            continue
        if first is None:
            first, count = row, 0
        count, end = count + 1, row.end
        if count >= window_rows or end - first.start >= window_bytes:
            spans.append(Span(first.start, end, first.number, count))
            first = None
    if first is not None:
        spans.append(Span(first.start, end, first.number, count))
    return spans


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_text(path: Path) -> IO[bytes]:
    """The file, behind its byte-order mark. Raises UsageError where it is missing, a folder, or UTF-16."""
    try:
        file = path.open("rb")
        start = file.read(4)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path, on every machine") from error
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start:
        file.close()
        raise UsageError(f"{path}: found UTF-16 or binary data, expected text in UTF-8; convert it")
    file.seek(len(BOM) if start.startswith(BOM) else 0)
    return file


def open_at(path: Path, size: int, start: int) -> IO[bytes]:
    """The file at a byte that a scan found. Raises UsageError where it has changed since."""
    file = open_text(path)
    found = path.stat().st_size
    if found != size:
        file.close()
        raise UsageError(f"{path}: has {found:,} bytes now and had {size:,} when the run was planned; start again")
    file.seek(start)
    return file


def csv_records(lines: Iterator[Line], delimiter: str = ",") -> Iterator[tuple[Line, list[str] | csv.Error]]:
    """CSV records with their place. A malformed one is given as its error, and the next line starts a new record.

    Bytes that are no UTF-8 come as lone surrogates, which the check of the row refuses by name.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    taken: list[Line] = []

    def text() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield "" if line.raw is None else line.raw.decode("utf-8", "surrogateescape")

    reader = csv.reader(text(), delimiter=delimiter, strict=True)
    while True:
        taken.clear()
        record: list[str] | csv.Error
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            record = error
        if not taken:
            return
        raw = None if any(line.raw is None for line in taken) else b"x" if record else b""
        yield Line(taken[0].number, taken[0].start, taken[-1].end, raw), record
