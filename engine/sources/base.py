"""What the pipeline uses of sources: plan the rows (`select`), walk them (`iter_rows`), read one (`load`).

source = open_source(SourceConfig("vlguard", path="data"))        # driver: UsageError where nothing can be read
plan = select(source.windows(), where={"safe": "false"}, limit=100)
for row in iter_rows(window, selection):                           # remote task, one (window, selection) each
    query = load(row)                                              # SourceError: this row becomes an error row
"""

from __future__ import annotations

from engine import pictures
from engine.errors import SourceError
from engine.pictures import DEFAULT_CAPS, PictureCaps
from engine.sources.records import Source, SourceConfig, SourceRow, Window, bad_row, bad_row_id, text_problem
from engine.sources.refs import FileRef, InlineRef, ParquetRef, PictureRef, ZipRef
from engine.sources.select import Plan, Selection, iter_rows, select
from engine.types import Picture, Query, query_id

__all__ = [
    "FileRef",
    "InlineRef",
    "ParquetRef",
    "PictureCaps",
    "PictureRef",
    "Plan",
    "Selection",
    "Source",
    "SourceConfig",
    "SourceRow",
    "Window",
    "ZipRef",
    "bad_row",
    "bad_row_id",
    "iter_rows",
    "load",
    "select",
    "text_problem",
]


def load(row: SourceRow, *, caps: PictureCaps = DEFAULT_CAPS) -> Query:
    """Read and check the pictures of one row, and give it its content id.

    Raises SourceError where the row has a problem or a picture cannot be read; the row's id is then `bad_row_id`.
    """
    problem = row.problem or text_problem(row.text)
    if problem:
        raise SourceError(problem if row.problem else f"{row.key}: {problem}")
    found = tuple(_read(row, ref, caps) for ref in row.pictures)
    return Query(
        query_id=query_id([bytes.fromhex(picture.sha256) for picture in found], row.text),
        text=row.text,
        pictures=found,
        source=row.source,
        source_key=row.key,
        source_index=row.index,
        split=row.split,
        category=row.category,
        subcategory=row.subcategory,
        label_safe=row.label_safe,
        reference=row.reference,
        extra=row.extra,
    )


def _read(row: SourceRow, ref: PictureRef, caps: PictureCaps) -> Picture:
    try:
        return pictures.inspect(ref.read(caps.max_bytes), ref.name, caps)
    except SourceError as error:
        raise SourceError(f"{row.key}: {error}") from error
