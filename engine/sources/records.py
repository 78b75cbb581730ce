"""What every source yields: references to rows, in windows that a remote task can open by itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from engine.sources.refs import PictureRef, printable

MAX_TEXT = 1_000_000
"""Bytes of one query in UTF-8. No model reads a tenth of it; a row above is a file pasted into a field."""


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Which source, and where (picklable; a token is named by its environment variable, never held)."""

    name: str
    path: str | None = None
    """A folder, a file, or a Hub id ORG/NAME; None where the source has a default."""
    split: str | None = None
    columns: Mapping[str, str] | None = None
    """Our field -> their column, as `fields.parse_columns` reads it from a flag."""
    revision: str | None = None
    token_env: str = "HF_TOKEN"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row by reference: its text and labels, and where its pictures are. Holds no picture bytes (but `InlineRef`).

    A row that could not be read has a `problem`; its `text` is then what is known of it, or "".
    """

    index: int
    """Order in the source: grows from row to row, may skip numbers (blank lines)."""
    key: str
    """Where the row stands, unique in the source: `train.json:17#0`, `queries.jsonl:12`, `a.parquet:0:5`."""
    text: str
    source: str = ""
    pictures: tuple[PictureRef, ...] = ()
    split: str = ""
    category: str | None = None
    subcategory: str | None = None
    label_safe: bool | None = None
    reference: str | None = None
    extra: str | None = None
    """JSON object of the further columns."""
    problem: str | None = None
    problem_type: str | None = None


class Window(Protocol):
    """A small picklable descriptor of some consecutive rows."""

    @property
    def count(self) -> int | None:
        """How many rows `rows()` gives, where that is known without reading them."""
        ...

    def rows(self) -> Iterator[SourceRow]:
        """Open what there is to open, on whichever machine this runs, and give the rows in order."""
        ...


class Source(Protocol):
    """One opened source: its files are known to exist and to be of the right kind."""

    @property
    def name(self) -> str: ...

    def identity(self) -> dict[str, str | None]:
        """What was read, for the manifest: path, sha256 of the index file or the Hub revision, split."""
        ...

    def windows(self) -> list[Window]:
        """All rows, each in exactly one window, in order."""
        ...


def bad_row_id(source: str, key: str) -> str:
    """The query id of a row without content: made from where it stands, so that a rerun meets the same id."""
    return hashlib.sha256(f"bad row\0{source}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


def bad_row(
    index: int, key: str, problem: str, kind: str, *, source: str, split: str = "", text: str = ""
) -> SourceRow:
    """A row that could not be read, to be kept as a transcript with `error_stage=source`."""
    problem = printable(problem)
    return SourceRow(index, key, text, source=source, split=split, problem=problem, problem_type=kind)


def text_problem(text: str) -> str | None:
    """Why this text cannot be asked, or None. Everything else passes unchanged: markers such as `</s>` stay text."""
    if not text.strip():
        return f"the query is empty (found {quoted(text)}), expected a text"
    if "\0" in text:
        return f"the query holds a NUL character at position {text.index(chr(0))}; remove it"
    size = len(text) if text.isascii() else _utf8_size(text)
    if size is None:
        return f"the query holds half a character (a lone surrogate): {quoted(text)}; the file was not decoded as UTF-8"
    if size > MAX_TEXT:
        return f"the query has {size:,} bytes; at most {MAX_TEXT:,} are accepted"
    return None


def is_clean(text: str) -> bool:
    """True if the text can be written as UTF-8, so that Arrow and JSON files take it."""
    return text.isascii() or _utf8_size(text) is not None


def _utf8_size(text: str) -> int | None:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def extra_json(columns: Mapping[str, Any]) -> str | None:
    """The further columns as one JSON object, keys in their order; None where there are none."""
    if not columns:
        return None
    try:
        whole = json.dumps(columns, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        finite = {name: str(value) if isinstance(value, float) else value for name, value in columns.items()}
        whole = json.dumps(finite, ensure_ascii=False, default=str)
    return whole if is_clean(whole) else json.dumps(json.loads(whole))


def quoted(value: object, limit: int = 80) -> str:
    """A found value for an error message: JSON-escaped and short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= limit else text[:limit] + "…"
