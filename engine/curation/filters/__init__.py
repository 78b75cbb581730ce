"""Filters: each looks at one transcript and drops it, with a reason and its evidence, or lets it pass.

`FILTERS` is the one list, in the default order: cheap and certain ones first, since a row gets the reason of the
first filter that drops it. Measured precision and recall: docs/filters.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any, get_type_hints

from engine import registry
from engine.curation.filters.base import Drop, Filter, Row
from engine.errors import UsageError

HERE = "engine.curation.filters."
FILTERS: dict[str, str] = {
    "verdict": HERE + "verdict:verdict",
    "length": HERE + "length:length",
    "truncated": HERE + "truncated:truncated",
    "placeholder_query": HERE + "placeholder_query:placeholder_query",
    "repetition": HERE + "repetition:repetition",
    "echo": HERE + "echo:echo",
    "caption_copy": HERE + "caption_copy:caption_copy",
    "hint_leak": HERE + "hint_leak:hint_leak",
    "blindness": HERE + "blindness:blindness",
    "identity": HERE + "identity:identity",
    "over_refusal": HERE + "over_refusal:over_refusal",
    "language": HERE + "language:language",
    "unrelated": HERE + "unrelated:unrelated",
    "pii": HERE + "pii:pii",
    "picture_quality": HERE + "picture_quality:picture_quality",
}
OPTIONAL = frozenset({"picture_quality"})
"""Off unless named in the config: it reads pictures, which costs more than all others together."""
DEFAULT = tuple(name for name in FILTERS if name not in OPTIONAL)


def make(name: str, options: Mapping[str, Any] | None = None) -> Filter:
    """The filter called `name`. UsageError: no such filter or option, an ill-typed or senseless value."""
    found = registry.find("filters", name, FILTERS)
    with nullcontext() if found.part is None else found.part.guarded():
        checked = _checked(name, found.factory, options or {})
    made: Filter = found.make(**checked)
    return made


def first_drop(filters: Sequence[tuple[str, Filter]], row: Row) -> tuple[str, Drop] | None:
    """(name, drop) of the first of the named filters that drops `row`."""
    for name, run in filters:
        drop = run(row)
        if drop is not None:
            return name, drop
    return None


def defaults(name: str) -> dict[str, Any]:
    """The options of a filter with their defaults, for the docs and the config's check."""
    factory = registry.find("filters", name, FILTERS).factory
    return {option.name: option.default for option in inspect.signature(factory).parameters.values()}


def _checked(name: str, factory: Callable[..., Filter], options: Mapping[str, Any]) -> dict[str, Any]:
    known = get_type_hints(factory)
    known.pop("return")
    found = {}
    for option, value in options.items():
        if option not in known:
            raise UsageError(f"filter {name} has no option {option!r}{_hint(str(option), known)}")
        found[option] = _typed(f"filter {name}, option {option}", known[option], value)
    return found


def _typed(where: str, kind: Any, value: Any) -> Any:
    """`value` as `kind` (int, float, bool, str, tuple[str, ...] or a callable), without guessing."""
    if kind == tuple[str, ...]:
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"{where}: expected a list of texts, found {value!r}")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type):
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        raise UsageError(f"{where}: expected {kind.__name__}, found {value!r}")
    if value is None or callable(value):
        return value
    raise UsageError(f"{where}: expected a function, found {value!r}")


def _hint(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(str(name), known, n=2)
    return f"; did you mean {' or '.join(close)}?" if close else f"; known: {', '.join(known) or 'none'}"
