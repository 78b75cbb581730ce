"""Which rows a preview answers: every stratum (category and label) by its size, drawn with a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from engine.lineage.fresh import Fresh
from engine.report.sampling import Reservoir
from engine.sources import Plan, Selection, SourceRow, iter_rows

Stratum = tuple[str, str]


class Chosen(NamedTuple):
    """The rows to answer, and how many rows stand behind each stratum."""

    plan: Plan
    sizes: Mapping[Stratum, int]
    taken: Mapping[Stratum, int]
    unreadable: int
    """Rows of the source that have a problem: in no stratum, since no model is asked."""


def stratum_of(category: str | None, label_safe: bool | None) -> Stratum:
    """(category, label of safety)."""
    return category or "no category", {True: "safe", False: "unsafe", None: "not labelled"}[label_safe]


def shares(sizes: Mapping[Stratum, int], rows: int) -> dict[Stratum, int]:
    """How many rows of each stratum: one each while they last (the largest first), then by size, never more than it
    has. The sum is `rows`, or all there are."""
    order = sorted(sizes, key=lambda stratum: (-sizes[stratum], stratum))
    found = dict.fromkeys(order[:rows], 1)
    total = sum(sizes[stratum] for stratum in found)
    while sum(found.values()) < min(rows, total):
        open_ones = [stratum for stratum in found if found[stratum] < sizes[stratum]]
        # The stratum that is furthest behind its share.
        behind = max(open_ones, key=lambda each: sizes[each] / (found[each] + 1))
        found[behind] += 1
    return found


def choose(plan: Plan, rows: int, seed: int = 0) -> Chosen:
    """One pass over the references; memory is `rows` of them for each stratum."""
    dice = random.Random(seed)
    kept: dict[Stratum, Reservoir[tuple[int, int]]] = {}
    sizes: dict[Stratum, int] = {}
    unreadable = 0
    for number, (window, selection) in enumerate(plan.windows):
        for row in iter_rows(window, selection):
            if row.problem is not None:
                unreadable += 1
                continue
            stratum = _of(row)
            sizes[stratum] = sizes.get(stratum, 0) + 1
            if stratum not in kept:
                kept[stratum] = Reservoir(rows, dice.randrange(2**31))
            kept[stratum].add((number, row.index))
    taken = shares(sizes, rows)
    places = [place for stratum, count in taken.items() for place in kept[stratum].items[:count]]
    by_window: dict[int, list[int]] = {}
    for number, index in places:
        by_window.setdefault(number, []).append(index)
    windows = [
        (Fresh(*plan.windows[number], np.array(sorted(by_window[number]), np.int64)), Selection())
        for number in sorted(by_window)
    ]
    return Chosen(Plan(len(places), list(windows)), sizes, taken, unreadable)


def _of(row: SourceRow) -> Stratum:
    return stratum_of(row.category, row.label_safe)
