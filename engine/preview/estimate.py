"""From a few answered rows to what the whole job takes, with intervals. Pure functions.

A row stands for its stratum (N rows of the job, n of them answered): it weighs N / n. Means are weighted; their
intervals come from drawing the answered rows anew. p(harmful) has a Wilson interval on the effective number of rows,
since a few rows without a single harmful one say little, and drawing them anew would say "never". What depends on
p(harmful) is widened by both of its ends.

Rows/s are those of the preview itself, with few rows in flight, unless those of an earlier run are given. A long run
keeps more in flight, which is faster on a GPU; a machine that is shared may be slower. The interval of hours and cost
is of the rows (how many calls they need), not of the machine's pace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.evaluation.rates import Z95

DRAWS = 2000
SEED = 0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answered:
    """One row of the preview."""

    stratum: tuple[str, str]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    harmful: bool | None
    """Verdict on the direct answer; None where nobody judged it. Unknown counts as harmful: the chain goes on."""
    error: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Figure:
        return Figure(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the preview went."""

    rows_per_s: float
    in_flight: int
    """Rows that were answered at once."""
    engines: int
    """Engines that this pace is of."""
    startup_s: float | None = None
    given: bool = False
    """The rows/s are of an earlier run, as told."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the whole job takes."""

    rows: int
    p_harmful: Figure | None
    calls_per_row: Figure
    formula_calls_per_row: Figure | None
    """2 + 2·p(harmful): ECSO without re-checks."""
    rechecks_per_row: float | None
    """Calls beyond the formula: new tries after a final answer that was still judged harmful, and the re-checks."""
    tokens_per_row: Figure
    completion_tokens_per_row: Figure
    errors: Figure
    calls: Figure
    tokens: Figure
    rows_per_s: float
    hours: Figure
    gpus: float
    cost: Figure | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def weights_of(rows: Sequence[Answered], sizes: Mapping[tuple[str, str], int]) -> Floats:
    """Weights that sum to one."""
    taken: dict[tuple[str, str], int] = {}
    for row in rows:
        taken[row.stratum] = taken.get(row.stratum, 0) + 1
    found = np.array([sizes[row.stratum] / taken[row.stratum] for row in rows], np.float64)
    return np.asarray(found / found.sum())


def mean(values: Floats, weights: Floats) -> Figure:
    """The weighted mean, and the middle 95 % of it over rows drawn anew."""
    dice = np.random.default_rng(SEED)
    drawn = dice.integers(0, len(values), (DRAWS, len(values)))
    chosen = weights[drawn]
    means = (values[drawn] * chosen).sum(axis=1) / chosen.sum(axis=1)
    value = float((values * weights).sum() / weights.sum())
    low, high = np.percentile(means, (2.5, 97.5))
    return Figure(value, min(value, float(low)), max(value, float(high)))


def share(hits: Floats, weights: Floats) -> Figure:
    """A weighted share with Wilson's interval, on Kish's effective number of rows."""
    whole = weights.sum()
    value = float((hits * weights).sum() / whole)
    n = float(whole**2 / (weights**2).sum())
    square = Z95 * Z95
    centre = (value + square / (2 * n)) / (1 + square / n)
    half = Z95 / (1 + square / n) * math.sqrt(value * (1 - value) / n + square / (4 * n * n))
    return Figure(value, min(value, max(0.0, centre - half)), max(value, min(1.0, centre + half)))


def formula(p: Figure) -> Figure:
    """Calls of a row of ECSO: answer and tell; where judged harmful also caption and safe answer."""
    return Figure(*(2 + 2 * each for each in (p.value, p.low, p.high)))


def estimate(
    rows: Sequence[Answered],
    sizes: Mapping[tuple[str, str], int],
    total: int,
    pace: Pace,
    *,
    engines: int,
    gpus: float,
    price: float | None,
    ecso: bool,
) -> Estimate:
    """The whole job of `total` rows on `engines` engines. ValueError where no row was answered."""
    if not rows:
        raise ValueError("no row was answered")
    weights = weights_of(rows, sizes)
    errors = share(_of(rows, "error"), weights)
    good = [row for row in rows if not row.error] or list(rows)
    weights = weights_of(good, sizes)
    judged = [row for row in good if row.harmful is not None]
    p = share(_of(judged, "harmful"), weights_of(judged, sizes)) if judged else None
    calls = mean(_of(good, "calls"), weights)
    plain = formula(p) if p is not None and ecso else None
    extra = calls.value - plain.value if plain is not None else None
    if plain is not None and p is not None and extra is not None:
        calls = _widened(calls, extra, p)
    wider = (calls.low / calls.value, calls.high / calls.value) if calls.value else (1.0, 1.0)
    out = _stretched(mean(_of(good, "completion_tokens"), weights), wider)
    tokens = _stretched(mean(_of(good, "prompt_tokens") + _of(good, "completion_tokens"), weights), wider)
    seconds = _stretched(mean(_of(good, "seconds"), weights), wider)
    rate = pace.rows_per_s * engines / pace.engines
    hours = total / rate / 3600 if rate else math.inf
    relative = (1.0, 1.0) if not seconds.value else (seconds.low / seconds.value, seconds.high / seconds.value)
    span = Figure(hours, hours * relative[0], hours * relative[1])
    return Estimate(
        rows=total,
        p_harmful=p,
        calls_per_row=calls,
        formula_calls_per_row=plain,
        rechecks_per_row=extra,
        tokens_per_row=tokens,
        completion_tokens_per_row=out,
        errors=errors,
        calls=calls.times(total),
        tokens=tokens.times(total),
        rows_per_s=rate,
        hours=span,
        gpus=gpus,
        cost=span.times(gpus * price) if price is not None else None,
    )


def _of(rows: Sequence[Answered], name: str) -> Floats:
    return np.array([float(getattr(row, name)) for row in rows], np.float64)


def _widened(calls: Figure, extra: float, p: Figure) -> Figure:
    """The interval of the drawn rows, and what the ends of p(harmful) make of the formula. Re-checks come with
    harmful answers, so they grow and shrink with p; where none was seen, one re-check for each is assumed."""
    each = extra / p.value if p.value > 0 else 1.0
    ends = [2 + (2 + each) * end for end in (p.low, p.high)]
    return Figure(calls.value, min(calls.low, *ends, calls.value), max(calls.high, *ends, calls.value))


def _stretched(figure: Figure, by: tuple[float, float]) -> Figure:
    """At least as wide as the calls are."""
    low, high = figure.value * by[0], figure.value * by[1]
    return Figure(figure.value, min(figure.low, low), max(figure.high, high))
