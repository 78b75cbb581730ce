"""Two evaluations of the same rows, compared row by row: what changed, and whether it is more than noise.

Rows are paired by part and query id. A share over rows is tested with McNemar's exact test on the rows that changed;
any other figure (a score's mean, a mean over scenarios, a sum over tasks) by resampling units in pairs. The interval
of every difference comes from the same paired draws.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.evaluation import benchmarks, intervals, scores
from engine.evaluation.answers import Row
from engine.evaluation.benchmarks.base import Answer, Benchmark, Metric
from engine.evaluation.intervals import Name, Units
from engine.evaluation.paired import LEVEL, mcnemar
from engine.evaluation.sides import Side, load, pairs
from engine.journal.store import Store

MCNEMAR, BOOTSTRAP = "mcnemar", "bootstrap"
RowKey = tuple[str, str]
"""(part, query_id)"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure, before (a) and after (b). `gained`/`lost`: units that went from no hit to a hit and back, where each
    is one or the other. `p` is two-sided."""

    benchmark: str
    name: Name
    unit: str
    n: int
    a: float
    b: float
    low: float | None
    high: float | None
    test: str
    p: float
    gained: int | None = None
    lost: int | None = None

    @property
    def is_noise(self) -> bool:
        return self.p > LEVEL


@dataclass(frozen=True, slots=True)
class Compared:
    """One benchmark on both sides. `left_out`: rows that only one side has; `notes`: what else differs."""

    benchmark: str
    kind: str
    a: Side
    b: Side
    rows: tuple[tuple[Row, Row], ...]
    left_out: int
    notes: tuple[str, ...]
    differences: tuple[Difference, ...]
    metrics: tuple[tuple[Metric, ...], tuple[Metric, ...]]
    """Of the rows that both have, before and after."""


def compare(first: str, second: str, *, allow_different: bool = False) -> list[Compared]:
    """Every benchmark that both evaluations have, for every strategy of both (or the two that `DIR@STRATEGY` names).

    Raises UsageError: no scores there, nothing in common, and other rows on one side unless `allow_different`.
    """
    before, after = load(first), load(second)
    found = []
    for a, b in pairs(before, after, first, second):
        shared = [label for label in a.scored if label in b.scored]
        if not shared:
            raise UsageError(f"{a.url} has {', '.join(a.scored)}, {b.url} has {', '.join(b.scored)}: nothing in common")
        found += [_compare(a, b, label, allow_different) for label in shared]
    return found


def _compare(a: Side, b: Side, label: str, allow_different: bool) -> Compared:
    benchmark = _benchmark(a, b, label)
    left, right = (_by_key(side.scored[label].rows) for side in (a, b))
    common = [key for key in left if key in right]
    left_out = len(left) + len(right) - 2 * len(common)
    if left_out and not allow_different:
        raise UsageError(
            f"{label}: {a.url} ({a.strategy}) has {len(left):,} rows, {b.url} ({b.strategy}) has {len(right):,}, and "
            f"{len(common):,} are the same; ask both for the same rows, or pass --allow-different to compare those"
        )
    if not common:
        raise UsageError(f"{label}: {a.url} and {b.url} have no row in common")
    rows = tuple((left[key], right[key]) for key in common)
    found = differences(label, benchmark, [row.answer for row, _ in rows], [row.answer for _, row in rows])
    return Compared(
        benchmark=label,
        kind=benchmark.kind,
        a=a,
        b=b,
        rows=rows,
        left_out=left_out,
        notes=tuple(_notes(a, b, label)),
        differences=tuple(found.lines),
        metrics=(found.before, found.after),
    )


def _benchmark(a: Side, b: Side, label: str) -> Benchmark:
    names = [next(each["name"] for each in side.document["benchmarks"] if each["label"] == label) for side in (a, b)]
    if names[0] != names[1]:
        raise UsageError(f"{label}: {a.url} means {names[0]}, {b.url} means {names[1]}")
    return benchmarks.get(names[0])


def _by_key(rows: Sequence[Row]) -> dict[RowKey, Row]:
    return {(row.answer.part, row.answer.query_id): row for row in rows}


def _notes(a: Side, b: Side, label: str) -> list[str]:
    """What makes the two less alike than their rows are."""
    before, after = ({judge.label: judge for judge in side.scored[label].judges} for side in (a, b))
    alone = [name for name in [*before, *after] if name not in before or name not in after]
    found = [f"judge {name} is on one side only, and left out" for name in alone]
    for judge, other in ((judge, after[name]) for name, judge in before.items() if name in after):
        if judge.own or other.own or (judge.same_model and other.same_model and judge.model != other.model):
            found.append(f"judge {judge.label}: each model judged itself; the difference may be one of judging")
        elif (judge.version, judge.prompt_sha256) != (other.version, other.prompt_sha256):
            found.append(f"judge {judge.label} is not the same on both sides: {judge.version} against {other.version}")
    return found


class Differences(NamedTuple):
    """Every metric that both sides have, and both sides' metrics with an interval from the same draws."""

    lines: list[Difference]
    before: tuple[Metric, ...]
    after: tuple[Metric, ...]


def differences(label: str, benchmark: Benchmark, a: Sequence[Answer], b: Sequence[Answer]) -> Differences:
    """In the scorer's order. The two lists hold the same rows in the same order."""
    before = {intervals.name_of(metric): metric for metric in benchmark.score(a)}
    after = {intervals.name_of(metric): metric for metric in benchmark.score(b)}
    names = [name for name in before if name in after and before[name].n and after[name].n]
    left, right = (intervals.units(side, benchmark.score, names) for side in (a, b))
    if left.keys != right.keys:
        raise UsageError(f"{label}: the rows are grouped otherwise on the two sides; were they read from other files?")
    means = [name for name in names if left.is_mean(before[name]) and right.is_mean(after[name])]
    x, y = (_draws(benchmark, side, names, means, 2 * len(a)) for side in (left, right))
    lines = []
    for name in names:
        line = _by_draws(label, before[name], after[name], y[name] - x[name])
        lines.append(_counted(line, left, right) if name in means else line)
    return Differences(lines, _filled(before, x), _filled(after, y))


def _draws(
    benchmark: Benchmark, side: Units, names: Sequence[Name], means: Sequence[Name], rows: int
) -> dict[Name, npt.NDArray[np.float64]]:
    """Every metric in the same draws on both sides: means of units, means over groups, and what is scored anew."""
    counts = intervals.draws(len(side.keys), intervals.DRAWS)
    found = intervals.drawn_means(side, means, counts)
    groups: Mapping[str, Sequence[str]] = getattr(benchmark, "macros", {})
    for name in [name for name in names if name.group in groups]:
        members = [name._replace(group=member) for member in groups[name.group]]
        if name not in found and all(member in found for member in members):
            found[name] = np.mean([found[member] for member in members], axis=0)
    others = [name for name in names if name not in found]
    if others:
        found |= intervals.rescored(side, counts[: intervals.draws_affordable(rows)], benchmark.score, others)
    return found


def _filled(metrics: Mapping[Name, Metric], drawn: Mapping[Name, npt.NDArray[np.float64]]) -> tuple[Metric, ...]:
    return tuple(
        intervals.with_interval(metric, intervals.ends(drawn[name]) if name in drawn else None)
        for name, metric in metrics.items()
    )


def _counted(line: Difference, left: Units, right: Units) -> Difference:
    """With McNemar's test, where every unit is one hit or none."""
    (x, n), (y, m) = left.values[line.name], right.values[line.name]
    both = (n > 0) & (m > 0)
    x, y = x[both], y[both]
    is_binary = bool(np.isin(np.concatenate([x, y]), (0.0, 1.0)).all()) and bool((n[both] == 1).all())
    if not is_binary or line.unit != "share":
        return line
    gained, lost = int(((x == 0) & (y == 1)).sum()), int(((x == 1) & (y == 0)).sum())
    return replace(line, test=MCNEMAR, p=mcnemar(gained, lost), gained=gained, lost=lost)


def _by_draws(label: str, a: Metric, b: Metric, drawn: npt.NDArray[np.float64]) -> Difference:
    """The bootstrap's two-sided p: how often a draw's difference has the other sign, twice."""
    usable = drawn[np.isfinite(drawn)]
    ends = intervals.ends(drawn)
    p = 1.0
    if len(usable):
        rarer = min(int((usable <= 0).sum()), int((usable >= 0).sum()))
        p = min(1.0, 2 * (rarer + 1) / (len(usable) + 1))
    low, high = ends or (None, None)
    return Difference(label, intervals.name_of(a), a.unit, a.n, a.value, b.value, low, high, BOOTSTRAP, p)


def words(found: Difference) -> str:
    """One difference in a sentence."""
    scale, unit = (100, " %") if found.unit == "share" else (1, "")
    change = scale * (found.b - found.a)
    text = f"{scale * found.a:.1f}{unit} → {scale * found.b:.1f}{unit} ({change:+.1f} points"
    if found.low is not None and found.high is not None:
        text += f", 95 %: {scale * found.low:+.1f} to {scale * found.high:+.1f}"
    text += ")"
    if found.gained is not None and found.lost is not None:
        text += f"; {found.gained:,} rows gained, {found.lost:,} lost"
    test = "McNemar" if found.test == MCNEMAR else "paired bootstrap"
    return f"{text}; {test} p {p_words(found.p)}: {'noise' if found.is_noise else 'more than noise'}"


def p_words(p: float) -> str:
    """`= 0.031`, `< 0.0001`."""
    if math.isnan(p):
        return "not defined"
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}" if p < 0.1 else f"= {p:.2f}"


def document(found: Sequence[Compared]) -> dict[str, Any]:
    """comparison.json."""
    return {
        "kind": "comparison",
        "schema_version": scores.SCHEMA_VERSION,
        "compared": [
            {
                "benchmark": each.benchmark,
                "before": {"path": each.a.url, "name": each.a.document["name"], "strategy": each.a.strategy},
                "after": {"path": each.b.url, "name": each.b.document["name"], "strategy": each.b.strategy},
                "rows": len(each.rows),
                "left_out": each.left_out,
                "notes": list(each.notes),
                "differences": [_plain(line) for line in each.differences],
            }
            for each in found
        ],
    }


def _plain(found: Difference) -> dict[str, Any]:
    values: dict[str, Any] = {
        **found.name._asdict(),
        **{key: getattr(found, key) for key in ("unit", "n", "a", "b", "low", "high", "test", "p", "gained", "lost")},
        "noise": found.is_noise,
        "words": words(found),
    }
    return dict(scores.plain(values))


def write(out: str, found: Sequence[Compared]) -> str:
    """OUT/comparison.json and OUT/comparison.html; the address of the page."""
    from engine.evaluation.page import comparison_page

    store = Store(out)
    store.ensure()
    store.write("comparison.json", json.dumps(document(found), indent=1, ensure_ascii=False).encode())
    store.write("comparison.html", comparison_page(found))
    return store.path("comparison.html")
