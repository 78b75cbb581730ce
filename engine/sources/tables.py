"""Rows of the benchmark tables: Parquet files of the Hub, and TSV files with pictures in base64. Pictures stay there.

Text columns are read in the driver (some thousand short rows); a picture is named by its cell, and decoded by the task.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import SourceError, UsageError
from engine.sources.lines import MAX_LINE, Line, csv_records, open_text, read_lines, sha256_of
from engine.sources.listed import Listing, require
from engine.sources.refs import READ_LIMIT, ParquetRef, PictureRef, printable


class TableRow(NamedTuple):
    """One record, with its picture by reference (None where the table has no picture column)."""

    key: str
    record: dict[str, Any]
    picture: PictureRef | None
    problem: str | None = None


def parquet_rows(listing: Listing, file: Path, columns: Sequence[str], picture: str = "image") -> Iterator[TableRow]:
    """All rows of one Parquet file. Raises UsageError where it is none, or lacks one of `columns`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            metadata, schema = parquet.metadata, parquet.schema_arrow
            require(str(file), [dict.fromkeys(schema.names)], columns)
            listing.digests.append(hashlib.sha256(repr(metadata.to_dict()).encode()).hexdigest())
            texts = [field.name for field in schema if field.name != picture and not _is_binary(field.type)]
            for group in range(metadata.num_row_groups):
                for row, record in enumerate(parquet.read_row_group(group, columns=texts).to_pylist()):
                    ref = ParquetRef(str(file), group, row, picture) if picture in schema.names else None
                    yield TableRow(f"{printable(file.name)}:{group}:{row}", record, ref)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{file}: found no readable Parquet file ({error}); get it again") from error


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def tsv_rows(listing: Listing, file: Path, columns: Sequence[str], picture: str = "image") -> Iterator[TableRow]:
    """All rows of one TSV file with a header line. Raises UsageError where a column is missing; a bad row says so.

    The picture column holds base64, or (as VLMEvalKit writes it, to save room) the `index` of the row that does.
    """
    listing.digests.append(sha256_of(file))
    with open_text(file) as opened:
        records = csv_records(read_lines(opened), delimiter="\t")
        _, header = next(records, (None, []))
        if isinstance(header, csv.Error) or not header:
            raise UsageError(f"{file}: found no header line, expected tab-separated columns {', '.join(columns)}")
        require(str(file), [dict.fromkeys(header)], columns)
        held: dict[str, CellRef] = {}
        for line, cells in records:
            if line.raw is not None and not cells:
                continue
            yield _tsv_row(file, line, header, cells, picture, held)


def _tsv_row(
    file: Path, line: Line, header: list[str], cells: list[str] | csv.Error, picture: str, held: dict[str, CellRef]
) -> TableRow:
    key = f"{printable(file.name)}:{line.number}"
    if line.raw is None:
        return TableRow(key, {}, None, f"found a line of more than {MAX_LINE:,} bytes")
    if isinstance(cells, csv.Error):
        return TableRow(key, {}, None, f"malformed TSV ({cells})")
    if len(cells) != len(header):
        return TableRow(key, {}, None, f"found {len(cells)} fields, expected {len(header)} ({', '.join(header)})")
    record: dict[str, Any] = {name: cell or None for name, cell in zip(header, cells, strict=True)}
    data = record.pop(picture, None)
    index = str(record.get("index"))
    if data is not None and len(data) <= MAX_INDEX and data.isdigit():
        ref = held.get(data)
        return TableRow(key, record, ref, None if ref else f"{picture}: found {data!r}, the index of no row above")
    ref = CellRef(str(file), line.start, line.end, header.index(picture)) if picture in header else None
    if ref is not None:
        held[index] = ref
    return TableRow(key, record, ref)


MAX_INDEX = 12
"""Digits of an index that stands where a picture should: no picture is that short."""


@dataclass(frozen=True, slots=True)
class CellRef:
    """A picture in base64, in one cell of a TSV file: the bytes of its line, and the number of its column."""

    file: str
    start: int
    end: int
    column: int

    @property
    def name(self) -> str:
        """Padded, so that names in alphabetical order are cells in file order."""
        return printable(f"{self.file}:{self.start:012}[{self.column:02}]")

    def read(self, limit: int = READ_LIMIT) -> bytes:
        try:
            with open(self.file, "rb") as opened:
                opened.seek(self.start)
                line = opened.read(self.end - self.start).decode()
            csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
            cells = next(csv.reader(io.StringIO(line, newline=""), delimiter="\t", strict=True))
            data = base64.b64decode(cells[self.column], validate=True)
        except (OSError, UnicodeDecodeError, csv.Error, StopIteration, IndexError, binascii.Error) as error:
            raise SourceError(f"{self.name}: the cell holds no picture in base64 ({error})") from error
        if len(data) > limit:
            raise SourceError(f"{self.name}: the picture has {len(data):,} bytes; at most {limit:,} are accepted")
        return data
