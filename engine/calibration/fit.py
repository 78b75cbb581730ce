"""Fitting with scikit-learn: Platt's sigmoid or isotonic regression, and the choice between them by cross-validation.

Every figure that is reported comes from rows that the curve (and the choice of the method) did not see: `held_out`
fits on the other folds, and with `auto` chooses among them by cross-validation inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.calibration.curve import Curve, Method, logit
from engine.calibration.measures import Bools, Floats, brier
from engine.errors import UsageError

METHODS: tuple[Method, ...] = ("platt", "isotonic")
INNER = 5
LEAST = 10
"""Rows of each class: below this, folds are luck."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A curve, the places of the rows that it was fitted on, and of those that it did not see."""

    curve: Curve
    seen: Floats
    unseen: Floats


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Calibrated p of every row, made without it. `chosen`: how many folds took which method."""

    p: Floats
    folds: tuple[Fold, ...]
    chosen: dict[str, int]


def check(p: Floats, harmful: Bools, folds: int) -> None:
    """UsageError where nothing can be learnt from these rows, saying what is missing."""
    rows, positives = len(p), int(harmful.sum())
    if min(positives, rows - positives) < max(LEAST, folds):
        raise UsageError(
            f"{positives} harmful and {rows - positives} harmless rows with p(harmful): a calibration needs at least "
            f"{max(LEAST, folds)} of each; label more rows"
        )
    if np.ptp(p) == 0:
        raise UsageError(f"p(harmful) is {p[0]:g} for all {rows} labelled rows: the judge tells nothing apart")


def fit(method: Method, p: Floats, harmful: Bools) -> Curve:
    """The curve of all these rows. One that would fall becomes level: no order can be learnt from such rows."""
    _sklearn()
    return _platt(p, harmful) if method == "platt" else _isotonic(p, harmful)


def _platt(p: Floats, harmful: Bools) -> Curve:
    """Platt's targets (1999, §2.2) keep the fit finite where the classes can be told apart without fault."""
    from sklearn.linear_model import LogisticRegression

    positives, negatives = int(harmful.sum()), int((~harmful).sum())
    high, low = (positives + 1) / (positives + 2), 1 / (negatives + 2)
    target = np.where(harmful, high, low)
    scores = np.array([logit(value) for value in p])
    # A soft target is the row twice: once as harmful and once as harmless, by weight.
    inputs = np.concatenate([scores, scores]).reshape(-1, 1)
    classes = np.concatenate([np.ones(len(p)), np.zeros(len(p))])
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=10_000)
    model.fit(inputs, classes, sample_weight=np.concatenate([target, 1 - target]))
    slope, intercept = float(model.coef_[0][0]), float(model.intercept_[0])
    if slope <= 0:
        mean = float(target.mean())
        return Curve("platt", 0.0, float(np.log(mean / (1 - mean))))
    return Curve("platt", slope, intercept)


def _isotonic(p: Floats, harmful: Bools) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
    model.fit(p, harmful.astype(float))
    # Sums of floats may fall by a rounding error: the curve must not.
    ys = np.maximum.accumulate(model.y_thresholds_)
    return Curve("isotonic", xs=tuple(map(float, model.X_thresholds_)), ys=tuple(map(float, ys)))


def apply(curve: Curve, p: Floats) -> Floats:
    return np.array([curve(value) for value in p], np.float64)


def splits(harmful: Bools, folds: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """(rows to fit on, rows held out), classes spread evenly."""
    _sklearn()
    from sklearn.model_selection import StratifiedKFold

    yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(harmful)), harmful)


def compare(p: Floats, harmful: Bools, folds: int, seed: int) -> dict[Method, float]:
    """Brier score of each method on held-out folds."""
    found = {}
    for method in METHODS:
        out = np.empty(len(p))
        for train, rest in splits(harmful, folds, seed):
            out[rest] = apply(fit(method, p[train], harmful[train]), p[rest])
        found[method] = brier(out, harmful)
    return found


def choose(method: str, p: Floats, harmful: Bools, folds: int, seed: int) -> Method:
    """The method asked for; of `auto`, the one with the lower held-out Brier score (a tie goes to the simpler one)."""
    if method in METHODS:
        return method
    scores = compare(p, harmful, folds, seed)
    return min(METHODS, key=lambda name: scores[name])


def held_out(method: str, p: Floats, harmful: Bools, folds: int, seed: int) -> HeldOut:
    """Calibrated p for every row from folds that did not hold it."""
    out = np.empty(len(p))
    found: list[Fold] = []
    chosen: Counter[str] = Counter()
    for train, rest in splits(harmful, folds, seed):
        few = int(min(harmful[train].sum(), (~harmful[train]).sum()))
        name = choose(method, p[train], harmful[train], min(INNER, few), seed + 1)
        chosen[name] += 1
        curve = fit(name, p[train], harmful[train])
        out[rest] = apply(curve, p[rest])
        found.append(Fold(curve, train, rest))
    return HeldOut(out, tuple(found), dict(chosen))


def _sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UsageError("calibration needs scikit-learn: pip install 'ecso-engine[calibrate]'") from error
