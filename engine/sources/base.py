"""From a reference to a query: read the pictures of one row, and give it its content id."""

from __future__ import annotations

from engine import pictures
from engine.errors import SourceError
from engine.pictures import DEFAULT_CAPS, PictureCaps
from engine.sources.records import SourceRow, text_problem
from engine.sources.refs import PictureRef
from engine.types import Picture, Query, query_id


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
