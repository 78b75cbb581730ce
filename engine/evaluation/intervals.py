"""Intervals by resampling, where no formula gives one: means of scores, means over groups, sums over tasks.

What is drawn is a unit: a row, or all rows of one `group` (the two questions of an MME picture, the turns of an
MMBench item), since those do not vary apart. A metric that is a mean over units is resampled as numbers; any other one
is scored anew for every draw. The seed is fixed, so the same answers give the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.evaluation.benchmarks.base import Answer, Metric

DRAWS = 1000
RESCORED_ROWS = 400_000
"""Rows that are scored anew, over all draws together: some seconds."""
MOST_RESCORED, FEWEST_RESCORED = 500, 200
ENDS = (2.5, 97.5)
SEED = 0
TINY = 1e-9

Score = Callable[[Sequence[Answer]], Sequence[Metric]]


class Name(NamedTuple):
    """What tells a metric from the others of one benchmark and strategy."""

    name: str
    group: str
    part: str
    judge: str | None


def name_of(metric: Metric) -> Name:
    return Name(metric.name, metric.group, metric.part, metric.judge)


@dataclass(frozen=True, slots=True)
class Units:
    """Rows by unit, in a fixed order, and each unit's own metrics."""

    keys: tuple[tuple[str, str], ...]
    members: tuple[tuple[Answer, ...], ...]
    values: Mapping[Name, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
    """Metric -> (value of each unit alone, its n; 0 where the unit has no row of it)."""

    def is_mean(self, metric: Metric) -> bool:
        """Whether the metric is the mean of its units, weighted by their rows."""
        value, n = self.values[name_of(metric)]
        total = n.sum()
        return bool(total == metric.n and abs(float((value * n).sum() / total) - metric.value) < TINY)


def unit_of(answer: Answer) -> tuple[str, str]:
    """(part, group or query): rows of one unit are drawn together."""
    group = answer.extra.get("group")
    return answer.part, answer.query_id if group is None else f"group {group}"


def units(answers: Sequence[Answer], score: Score, names: Sequence[Name]) -> Units:
    """Score every unit alone, for the metrics of these names."""
    by_unit: dict[tuple[str, str], list[Answer]] = {}
    for answer in answers:
        by_unit.setdefault(unit_of(answer), []).append(answer)
    keys = tuple(sorted(by_unit))
    members = tuple(tuple(by_unit[key]) for key in keys)
    values = {name: (np.zeros(len(keys)), np.zeros(len(keys))) for name in names}
    for place, rows in enumerate(members):
        for metric in score(rows):
            found = values.get(name_of(metric))
            if found is not None and metric.n and not math.isnan(metric.value):
                found[0][place], found[1][place] = metric.value, metric.n
    return Units(keys, members, values)


def draws(units_there: int, how_many: int, seed: int = SEED) -> npt.NDArray[np.int64]:
    """[how_many, units] how often each unit is in each draw."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(units_there, np.full(units_there, 1 / units_there), size=how_many)


def draws_affordable(rows: int) -> int:
    """How many draws are scored anew."""
    return max(FEWEST_RESCORED, min(MOST_RESCORED, RESCORED_ROWS // max(1, rows)))


def drawn_means(
    found: Units, names: Sequence[Name], counts: npt.NDArray[np.int64]
) -> dict[Name, npt.NDArray[np.float64]]:
    """Metric -> its weighted mean in each draw; NaN where a draw has no row of it. All metrics in one product."""
    if not names:
        return {}
    weights = np.stack([found.values[name][1] for name in names], axis=1)
    totals = np.stack([found.values[name][0] * found.values[name][1] for name in names], axis=1)
    often = counts.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (often @ totals) / (often @ weights)
    return {name: means[:, place] for place, name in enumerate(names)}


def drawn(found: Units, counts: npt.NDArray[np.int64]) -> list[Answer]:
    """The rows of one draw. A unit that is drawn twice is two units: its group and ids are told apart."""
    rows: list[Answer] = []
    for place in np.flatnonzero(counts):
        for copy in range(int(counts[place])):
            rows += found.members[place] if not copy else [_copied(row, copy) for row in found.members[place]]
    return rows


def _copied(row: Answer, copy: int) -> Answer:
    extra = row.extra
    if "group" in extra:
        extra = {**extra, "group": f"{extra['group']} copy {copy}"}
    return replace(row, query_id=f"{row.query_id} copy {copy}", extra=extra)


def rescored(
    found: Units, counts: npt.NDArray[np.int64], score: Score, names: Sequence[Name]
) -> dict[Name, npt.NDArray[np.float64]]:
    """Metric -> its value in each draw; NaN where a draw has none."""
    values = {name: np.full(len(counts), math.nan) for name in names}
    for place, each in enumerate(counts):
        for metric in score(drawn(found, each)):
            if name_of(metric) in values:
                values[name_of(metric)][place] = metric.value
    return values


def ends(values: npt.NDArray[np.float64]) -> tuple[float, float] | None:
    """The middle 95 % of the draws, or None where they are no numbers."""
    usable = values[np.isfinite(values)]
    if not len(usable):
        return None
    low, high = np.percentile(usable, ENDS)
    return float(low), float(high)


def fill(answers: Sequence[Answer], metrics: Sequence[Metric], score: Score) -> list[Metric]:
    """The metrics, those without an interval with one by resampling."""
    missing = [metric for metric in metrics if metric.low is None and metric.n > 1 and not math.isnan(metric.value)]
    if not missing:
        return list(metrics)
    found = units(answers, score, [name_of(metric) for metric in missing])
    means = [metric for metric in missing if found.is_mean(metric)]
    others = [metric for metric in missing if not found.is_mean(metric)]
    made: dict[Name, tuple[float, float] | None] = {}
    if means:
        counts = draws(len(found.keys), DRAWS)
        for name, values in drawn_means(found, [name_of(metric) for metric in means], counts).items():
            made[name] = ends(values)
    if others:
        counts = draws(len(found.keys), draws_affordable(len(answers)))
        for name, values in rescored(found, counts, score, [name_of(metric) for metric in others]).items():
            made[name] = ends(values)
    return [with_interval(metric, made.get(name_of(metric))) for metric in metrics]


def with_interval(metric: Metric, found: tuple[float, float] | None) -> Metric:
    """The metric with these ends, unless it has its own."""
    if found is None or metric.low is not None:
        return metric
    return replace(metric, low=min(found[0], metric.value), high=max(found[1], metric.value))
