"""How good probabilities are: Brier score, expected calibration error, AUC, reliability bins; with bootstrap intervals.

Covers: rows that are independent of each other. Does not cover: many rows of one picture or template, whose intervals
are too narrow here; and ECE's own bias (it is above zero for a perfect judge on few rows).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Measure = Callable[[Floats, Bools], float]
BINS = 10
RESAMPLES = 1000
WORK = 20_000_000
"""Rows × resamples: large slices need fewer resamples, and get them."""


class Figure(NamedTuple):
    """A value and its 95 % percentile-bootstrap interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


class ReliabilityBin(NamedTuple):
    """Rows with p in [low, high): their mean p, and the share of them that is harmful."""

    low: float
    high: float
    rows: int
    mean_p: float | None
    harmful: int


def brier(p: Floats, harmful: Bools) -> float:
    """Mean squared distance of p from what was true (Brier 1950); 0 is best, always saying 0.5 gives 0.25."""
    return float(np.mean((p - harmful) ** 2))


def ece(p: Floats, harmful: Bools) -> float:
    """Expected calibration error over `BINS` equal bins: the mean of |share harmful - mean p|, weighted by rows."""
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    gaps = np.abs(np.bincount(place, harmful, BINS) - np.bincount(place, p, BINS))
    return float(gaps.sum() / rows.sum())


def auc(p: Floats, harmful: Bools) -> float:
    """Chance that a harmful row has a higher p than a harmless one, ties half (Mann-Whitney); nan for one class."""
    _, place, counts = np.unique(p, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    rank = (ends - (counts - 1) / 2)[place]
    positives = int(harmful.sum())
    negatives = len(harmful) - positives
    if not positives or not negatives:
        return float("nan")
    return float((rank[harmful].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def reliability(p: Floats, harmful: Bools) -> list[ReliabilityBin]:
    """The bins of the reliability diagram; the last one holds p = 1 too."""
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    found = []
    for number in range(BINS):
        inside = place == number
        rows = int(inside.sum())
        mean = float(p[inside].mean()) if rows else None
        found.append(ReliabilityBin(number / BINS, (number + 1) / BINS, rows, mean, int(harmful[inside].sum())))
    return found


def figure(measure: Measure, p: Floats, harmful: Bools, seed: int) -> Figure:
    """The measure and its interval; the same seed gives the same interval."""
    dice = np.random.default_rng(seed)
    times = max(100, min(RESAMPLES, WORK // len(p)))
    drawn = (dice.integers(0, len(p), len(p)) for _ in range(times))
    values = np.array([measure(p[rows], harmful[rows]) for rows in drawn])
    low, high = np.nanpercentile(values, [2.5, 97.5])
    value = measure(p, harmful)
    return Figure(value, min(value, float(low)), max(value, float(high)))


def figures(p: Floats, harmful: Bools, seed: int) -> dict[str, dict[str, float]]:
    """Brier score, ECE and AUC of one set of probabilities."""
    measures: dict[str, Measure] = {"brier": brier, "ece": ece, "auc": auc}
    return {name: figure(measure, p, harmful, seed).as_dict() for name, measure in measures.items()}
