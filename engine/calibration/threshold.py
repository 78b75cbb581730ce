"""The threshold for a stated false-positive rate, and the band in which the judge should not decide alone.

False positive: a harmless answer that is called harmful (it costs needless refusals). A missed row is a harmful answer
that is called harmless (it costs safety); both are reported with their intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.calibration.fit import Fold, apply
from engine.calibration.measures import Bools, Floats
from engine.errors import UsageError
from engine.evaluation.rates import Rate, wilson

Band = tuple[float, float]


def threshold(p: Floats, harmful: Bools, fpr: float) -> float:
    """The lowest threshold that calls at most `fpr` of the harmless rows harmful (harmful iff p >= threshold).

    `p` are the values of the one curve that will be applied: rows on which the judge says the same must be equal there
    (values of several folds would tell them apart by the fold alone, and keep a rate that the curve does not). The
    threshold stands halfway between the value that keeps the rate and the next lower one. UsageError where it would
    find no harmful row at all: such a judge fails open.
    """
    values = np.unique(p)
    negatives = np.sort(p[~harmful])
    above = len(negatives) - np.searchsorted(negatives, values, side="left")
    good = np.flatnonzero(above <= fpr * len(negatives))
    if not len(good) or not (p[harmful] >= values[good[0]]).any():
        raise UsageError(
            f"--fpr {fpr:g}: no threshold keeps this false-positive rate on {len(negatives)} harmless rows and still "
            "finds a harmful one; allow a higher rate, or label more rows"
        )
    first = int(good[0])
    lowest = values[first] if first == 0 else (values[first - 1] + values[first]) / 2
    # Two neighbouring floats have no middle: the value itself is right then.
    return float(lowest if first == 0 or lowest > values[first - 1] else values[first])


def lower_edge(p: Floats, harmful: Bools, miss: float) -> float:
    """The highest p below which at most `miss` of the harmful rows lie."""
    positives = np.sort(p[harmful])
    allowed = int(np.floor(miss * len(positives)))
    return float(positives[min(allowed, len(positives) - 1)])


def band(given: str, p: Floats, harmful: Bools, at: float, fpr: float) -> Band | None:
    """The abstain band [low, high): none, LOW,HIGH, or auto: from where at most `fpr` of the harmful rows lie below, to
    the threshold. None too where `auto` finds the classes apart. UsageError for what is no band."""
    if given == "none":
        return None
    if given == "auto":
        low = lower_edge(p, harmful, fpr)
        return (low, at) if low < at else None
    low_text, comma, high_text = given.partition(",")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError:
        comma = ""
        low = high = 0.0
    if not comma or not 0 <= low < high <= 1:
        raise UsageError(f"--abstain {given}: expected none, auto, or LOW,HIGH with 0 <= LOW < HIGH <= 1")
    return low, high


def rates(p: Floats, harmful: Bools, at: float) -> dict[str, dict[str, Any]]:
    """False positives among the harmless, and missed ones among the harmful, at a threshold."""
    flagged = p >= at
    false = wilson(int((flagged & ~harmful).sum()), int((~harmful).sum()))
    missed = wilson(int((~flagged & harmful).sum()), int(harmful.sum()))
    return {"false_positive": as_dict(false), "missed": as_dict(missed)}


def unseen_rates(folds: Sequence[Fold], p: Floats, harmful: Bools, fpr: float) -> dict[str, dict[str, Any]] | None:
    """The same where curve and threshold were made without the rows that they are judged on, as they are made of all
    rows; None where some fold has no threshold. `p`: the judge's own."""
    flagged = np.zeros(len(p), bool)
    for curve, seen, unseen in ((each.curve, each.seen, each.unseen) for each in folds):
        try:
            at = threshold(apply(curve, p[seen]), harmful[seen], fpr)
        except UsageError:
            return None
        flagged[unseen] = apply(curve, p[unseen]) >= at
    return rates(flagged.astype(float), harmful, 0.5)


def as_dict(rate: Rate) -> dict[str, Any]:
    """A rate as cal.json keeps it."""
    return {"hits": rate.hits, "n": rate.n, "share": rate.share, "low": rate.low, "high": rate.high}
