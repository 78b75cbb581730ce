"""Which rows of a source a run takes: `--where` and `--limit`, decided over references only.

The planning pass streams: it keeps one number a window, so memory stays flat for millions of rows. The remote task
that opens a window filters it again by the same `Selection`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from engine.errors import UsageError
from engine.sources.records import SourceRow, Window, quoted

FIELDS = ("category", "subcategory", "split")
SAFE = ("safe", "label_safe")
SHOWN_VALUES = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """What to take of one window: rows where every column has its value, and of these the first `limit`.

    A row that could not be read has no columns, so `where` leaves it out; without `where` it is taken.
    """

    where: tuple[tuple[str, str], ...] = ()
    limit: int | None = None

    def takes(self, row: SourceRow) -> bool:
        if not self.where:
            return True
        columns = columns_of(row)
        return all(columns.get(column) == value for column, value in self.where)


class Plan(NamedTuple):
    """The rows that a run takes: how many, and the windows that hold them (windows without any are left out)."""

    total: int
    windows: list[tuple[Window, Selection]]


def iter_rows(window: Window, selection: Selection) -> Iterator[SourceRow]:
    """The selected rows of one window, in order (in the remote task)."""
    return islice(filter(selection.takes, window.rows()), selection.limit)


def select(windows: Sequence[Window], *, where: Mapping[str, str] | None = None, limit: int | None = None) -> Plan:
    """Plan a run over `windows`: `where` (column -> value) first, then the first `limit` rows of what is left.

    Raises UsageError for a limit below 1, and for a column or a value that no row has.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: found {limit}, expected a number of rows from 1 on")
    wanted = _normal(where or {})
    seen = _Seen(tuple(column for column, _ in wanted))
    plan: list[tuple[Window, Selection]] = []
    total = 0
    for window in windows:
        left = None if limit is None else limit - total
        if left == 0:
            break
        count = _count(window, Selection(wanted, left), seen)
        if count:
            plan.append((window, Selection(wanted, count)))
            total += count
    if wanted and not total:
        raise seen.error(wanted)
    return Plan(total, plan)


def columns_of(row: SourceRow) -> dict[str, str]:
    """The columns that `--where` can name, as text: the source's own and the further ones of `extra`."""
    columns = {name: _text(value) for name, value in json.loads(row.extra).items()} if row.extra else {}
    columns |= {name: value for name in FIELDS if (value := getattr(row, name))}
    if row.label_safe is not None:
        columns["safe"] = _text(row.label_safe)
    return {name: value for name, value in columns.items() if value is not None}


def _normal(where: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """`label_safe` is `safe`, and its values are true and false."""
    pairs = []
    for column, value in where.items():
        if column in SAFE:
            if value.lower() not in ("true", "false"):
                raise UsageError(f"--where {column}=: found {quoted(value)}, expected true or false")
            column, value = "safe", value.lower()
        pairs.append((column, value))
    return tuple(pairs)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def _count(window: Window, selection: Selection, seen: _Seen) -> int:
    """How many rows the selection takes, without opening the window where its count says so."""
    if not selection.where and window.count is not None:
        return window.count if selection.limit is None else min(window.count, selection.limit)
    count = 0
    for row in window.rows():
        if selection.limit is not None and count >= selection.limit:
            break
        seen.note(row)
        count += selection.takes(row)
    return count


@dataclass(slots=True)
class _Seen:
    """The columns of the rows passed by, and some values of those that were asked for: kept for the error only."""

    asked: tuple[str, ...]
    columns: set[str] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)

    def note(self, row: SourceRow) -> None:
        if not self.asked:
            return
        columns = columns_of(row)
        self.columns |= columns.keys()
        for name in self.asked:
            values = self.values.setdefault(name, set())
            if name in columns and len(values) < SHOWN_VALUES:
                values.add(columns[name])

    def error(self, wanted: tuple[tuple[str, str], ...]) -> UsageError:
        for column, value in wanted:
            if column not in self.columns:
                known = ", ".join(sorted(self.columns)) or "none"
                return UsageError(f"--where {column}={value}: no row has a column {column}; columns seen: {known}")
            if value not in self.values[column] and len(self.values[column]) < SHOWN_VALUES:
                known = ", ".join(map(quoted, sorted(self.values[column])))
                return UsageError(f"--where {column}={value}: no row has that value; values seen: {known}")
        return UsageError("--where: no row has all of " + ", ".join(f"{name}={value}" for name, value in wanted))
