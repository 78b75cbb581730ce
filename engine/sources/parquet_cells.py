"""Pictures out of Parquet columns, one cell at a time, each row group decoded once.

A row group holds hundreds of pictures and Parquet decodes columns, not cells. A cursor walks a column in small batches
and stays where it is, so rows read in order cost one pass and one batch of memory; going back starts over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import Any

from engine.errors import SourceError
from engine.sources.refs import ParquetRef

BATCH = 16
"""Rows decoded at a time: at the caps' 32 MB a picture, half a gigabyte at worst; a few MB in practice."""

_LOCK = Lock()


class Cursor:
    """One column of one row group, walked forward."""

    def __init__(self, file: str, row_group: int, column: str) -> None:
        self._where = (file, row_group, column)
        self._start = 0
        self._cells: Any = ()
        self._batches = self._open()

    def cell(self, row: int) -> Any:
        """The Arrow scalar of one row. Raises IndexError where there is no such row."""
        if row < self._start:
            self._start, self._cells, self._batches = 0, (), self._open()
        while row >= self._start + len(self._cells):
            self._start += len(self._cells)
            batch = next(self._batches, None)
            if batch is None:
                raise IndexError(row)
            self._cells = batch
        return self._cells[row - self._start]

    def _open(self) -> Iterator[Any]:
        import pyarrow.parquet as pq

        file, row_group, column = self._where
        with pq.ParquetFile(file, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(BATCH, row_groups=[row_group], columns=[column]):
                yield batch.column(0)


def read_picture(ref: ParquetRef, limit: int) -> bytes:
    """The encoded bytes of one picture. Raises SourceError."""
    try:
        with _LOCK:
            cell = _cursor(*_version(ref.file), ref.row_group, ref.column).cell(ref.row)
        value = cell.as_py()
        if isinstance(value, list):
            value = value[ref.item]
        data = value.get("bytes") if isinstance(value, dict) else value
    except Exception as error:
        raise SourceError(f"{ref.name}: the picture cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(data, bytes):
        path = value.get("path") if isinstance(value, dict) else None
        outside = f" (only a path, {path!r})" if path else ""
        raise SourceError(f"{ref.name}: found no picture bytes{outside}, expected them inside the Parquet file")
    if len(data) > limit:
        raise SourceError(f"{ref.name}: the picture has {len(data):,} bytes; at most {limit:,} are accepted")
    return data


def _version(file: str) -> tuple[str, int, int]:
    """A replaced file is read anew."""
    found = os.stat(file)
    return file, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=2)
def _cursor(file: str, size: int, changed: int, row_group: int, column: str) -> Cursor:
    del size, changed
    return Cursor(file, row_group, column)
