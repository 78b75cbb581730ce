"""The border: what a source says of one row is checked here, before anything believes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.sources.records import is_clean, quoted, text_problem
from schemas import SchemaError, check_row

WORDS = ("category", "subcategory", "reference", "split")


class Problem(NamedTuple):
    """Why a row cannot be used, and of which kind."""

    message: str
    kind: str


def query_problem(query: Mapping[str, Any], where: str, *, split: object = "") -> Problem | None:
    """What is wrong with one row as `schemas/query.json` describes it, or None. `where` leads the message."""
    text = query.get("text")
    if isinstance(text, str) and (problem := text_problem(text)):
        return Problem(f"{where}: {problem}", "BadText")
    try:
        check_row("query", query, where=where)
    except SchemaError as error:
        return Problem(str(error), "SchemaError")
    if not isinstance(split, str):
        return Problem(f"{where}: split: found {quoted(split)}, expected a text", "SchemaError")
    for field, value in {**query, "split": split}.items():
        if field in WORDS and value is not None and not is_clean(value):
            found = f"found {quoted(value)}, expected whole characters (it holds a lone surrogate)"
            return Problem(f"{where}: {field}: {found}", "BadText")
    return None
