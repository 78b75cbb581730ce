"""The funnel: rows in, what each step dropped, rows out, per category and source. Adds up, or raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.curation.ledger import Ledger
from engine.errors import OutputError

SOURCE_STEP = "duplicate_query"


class SourceDuplicates:
    """Further source rows of a transcript: identical pictures and text, answered once."""

    def __init__(self) -> None:
        self.categories: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()

    def add(self, transcript: dict[str, Any]) -> None:
        count = len(transcript["duplicate_keys"])
        if count:
            self.categories[transcript["category"] or ""] += count
            self.sources[transcript["source"]] += count

    @property
    def total(self) -> int:
        return self.sources.total()


def funnel(ledger: Ledger, order: Sequence[str], duplicates: SourceDuplicates) -> list[dict[str, Any]]:
    """One entry a step, in `order`. Raises OutputError where a row was dropped by a step that is not in it."""
    unknown = set(ledger.steps.names[1:]) - set(order)
    if unknown:
        raise OutputError(f"curation: rows were dropped by steps that the funnel does not know: {sorted(unknown)}")
    lines = [_source_line(ledger, duplicates)]
    alive = np.ones(len(ledger), dtype=bool)
    for step in order:
        number = ledger.steps.number(step)
        gone = ledger.column("step") == number if len(ledger) else alive
        lines.append(_line(ledger, step, alive, gone))
        alive = alive & ~gone
    if int(alive.sum()) != len(ledger.kept()):
        raise OutputError("curation: the funnel does not add up to the rows that were kept")
    return lines


def _line(ledger: Ledger, step: str, alive: Any, gone: Any) -> dict[str, Any]:
    left = alive & ~gone
    reasons = np.bincount(ledger.column("reason")[gone], minlength=1)
    names = ledger.reasons.names
    return {
        "step": step,
        "rows_in": int(alive.sum()),
        "dropped": int(gone.sum()),
        "rows_out": int(left.sum()),
        "reasons": {names[k]: int(n) for k, n in enumerate(reasons) if n},
        "per_category": _both(ledger, "category", ledger.categories.names, alive, left),
        "per_source": _both(ledger, "source", ledger.sources.names, alive, left),
    }


def _both(ledger: Ledger, column: str, names: Sequence[str], before: Any, after: Any) -> dict[str, list[int]]:
    values = ledger.column(column)
    counts = [np.bincount(values[which], minlength=len(names)) for which in (before, after)]
    return {name: [int(counts[0][k]), int(counts[1][k])] for k, name in enumerate(names)}


def _source_line(ledger: Ledger, duplicates: SourceDuplicates) -> dict[str, Any]:
    rows = len(ledger)

    def per(column: str, names: Sequence[str], extra: Counter[str]) -> dict[str, list[int]]:
        out = np.bincount(ledger.column(column), minlength=len(names)) if rows else [0] * len(names)
        return {name: [int(out[k]) + extra[name], int(out[k])] for k, name in enumerate(names)}

    return {
        "step": SOURCE_STEP,
        "rows_in": rows + duplicates.total,
        "dropped": duplicates.total,
        "rows_out": rows,
        "reasons": {SOURCE_STEP: duplicates.total} if duplicates.total else {},
        "per_category": per("category", ledger.categories.names, duplicates.categories),
        "per_source": per("source", ledger.sources.names, duplicates.sources),
    }
