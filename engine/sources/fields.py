"""Other people's columns into our fields: well-known names by themselves, any other by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.sources.border import query_problem
from engine.sources.records import SourceRow, bad_row, extra_json, is_clean
from engine.sources.refs import PictureRef

NAMES: dict[str, tuple[str, ...]] = {
    "text": ("text", "query", "question", "instruction"),
    "image": ("image", "images", "picture", "pictures", "file_name"),
    "category": ("category", "harmful_category"),
    "subcategory": ("subcategory", "harmful_subcategory"),
    "label_safe": ("label_safe", "safe"),
    "reference": ("reference", "response"),
    "split": ("split",),
}
"""Our field -> the column names that mean it, best first. A further match of one field is an extra column."""

LABELS = {"true": True, "safe": True, "yes": True, "1": True, "false": False, "unsafe": False, "no": False, "0": False}
"""How a label is written where a column has no booleans (CSV, and many a Parquet file). JSON has its own."""

Columns = tuple[tuple[str, str], ...]
"""A mapping as sorted pairs (field, column): picklable and hashable inside windows."""


def parse_columns(flag: str) -> dict[str, str]:
    """`text=question,image=picture_bytes` as a dict, our field -> their column.

    `image=` (no column) says that there are no pictures. A column name may hold `=`, but no comma. Raises UsageError.
    """
    columns: dict[str, str] = {}
    for part in filter(None, map(str.strip, flag.split(","))):
        field, equals, column = part.partition("=")
        field = field.strip()
        if not equals:
            raise UsageError(f"columns: found {part!r}, expected FIELD=COLUMN; fields: {', '.join(NAMES)}")
        if field in columns:
            raise UsageError(f"columns: {field} is given twice, expected one column for each field")
        columns[field] = column.strip()
    return columns


def checked_columns(columns: Mapping[str, str] | None) -> Columns:
    """The mapping with every field known. Raises UsageError."""
    for field, column in (columns or {}).items():
        if field not in NAMES:
            raise UsageError(f"columns: found field {field!r}, expected one of {', '.join(NAMES)}")
        if not column and field == "text":
            raise UsageError("columns: text= names no column, expected the column of the query")
    return tuple(sorted((columns or {}).items()))


def find_column(field: str, present: Collection[str], columns: Columns) -> str | None:
    """The column that holds `field`: the mapped one, else the first well-known name that is present."""
    mapped = dict(columns).get(field)
    if mapped is not None:
        return mapped or None
    taken = {column for _, column in columns}
    return next((name for name in NAMES[field] if name in present and name not in taken), None)


def as_label(value: object) -> object:
    """A word or number that means a label as a boolean; anything else unchanged, for the border to refuse."""
    return LABELS.get(str(value).strip().lower(), value)


def require_text(present: Iterable[str], columns: Columns, where: str) -> None:
    """Raise UsageError unless every mapped column and one for the text are among the columns `present`."""
    present = list(present)
    known = ", ".join(present) or "none"
    for field, column in columns:
        if column and column not in present:
            raise UsageError(f"{where}: no column {column!r} (mapped to {field}); columns found: {known}")
    if find_column("text", present, columns) is None:
        mend = "map one with columns text=COLUMN"
        raise UsageError(f"{where}: no column {', '.join(NAMES['text'])}; columns found: {known}; {mend}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, and what holds for all rows around it."""

    index: int
    key: str
    where: str
    """Names file and line at the head of an error message."""
    source: str
    split: str


def row_from(
    record: Mapping[str, Any], place: Place, columns: Columns, reference_to: Callable[[str], PictureRef]
) -> SourceRow:
    """One row from a record whose picture column holds paths. Never raises: what is wrong becomes the row's problem."""
    used = {field: find_column(field, record, columns) for field in NAMES}
    found = {field: record.get(column) for field, column in used.items() if column}
    pictures = found.get("image")
    paths = [] if pictures is None else pictures if isinstance(pictures, list) else [pictures]
    return build_row(found, place, paths, lambda: tuple(map(reference_to, paths)), rest(record, used))


def rest(record: Mapping[str, Any], used: Mapping[str, str | None]) -> dict[str, Any]:
    """The columns that mean none of our fields."""
    taken = set(used.values())
    return {name: value for name, value in record.items() if name not in taken}


def build_row(
    found: Mapping[str, Any],
    place: Place,
    names: list[Any],
    pictures: Callable[[], tuple[PictureRef, ...]],
    extra: Mapping[str, Any],
) -> SourceRow:
    """Check the fields at the border, then make the row. `names` stands for the pictures in the check."""
    text = found.get("text")
    labels = {field: found.get(field) for field in ("category", "subcategory", "label_safe", "reference")}
    split = place.split if found.get("split") is None else found["split"]
    problem = query_problem({"text": text, "pictures": names, **labels}, place.where, split=split)
    if problem is not None:
        known = text if isinstance(text, str) and is_clean(text) else ""
        return bad_row(place.index, place.key, *problem, source=place.source, split=place.split, text=known)
    return SourceRow(
        place.index,
        place.key,
        text or "",
        source=place.source,
        pictures=pictures(),
        split=split,
        extra=extra_json(extra),
        **labels,
    )
