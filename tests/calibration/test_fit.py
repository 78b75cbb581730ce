"""Curves keep the judge's order, the threshold keeps its promise, and nothing is learnt from too little."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calibration import fit
from engine.calibration.curve import Curve, curve_of, logit
from engine.calibration.measures import Bools, Floats, brier, ece
from engine.calibration.threshold import band, lower_edge, threshold, unseen_rates
from engine.errors import UsageError
from tests.calibration.make import overconfident


def slices() -> st.SearchStrategy[tuple[Floats, Bools]]:
    """Rows with p and label, ten of each class or more, not all p equal."""
    p = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
    both = st.tuples(st.lists(p, min_size=10, max_size=30), st.lists(p, min_size=10, max_size=30))

    def joined(found: tuple[list[float], list[float]]) -> tuple[Floats, Bools]:
        harmless, harmful = found
        return np.array(harmless + harmful), np.array([False] * len(harmless) + [True] * len(harmful))

    return both.map(joined).filter(lambda found: np.ptp(found[0]) > 0)


@settings(max_examples=40, deadline=None)
@given(slices(), st.sampled_from(fit.METHODS))
def test_every_curve_is_monotone_and_a_probability(found: tuple[Floats, Bools], method: str) -> None:
    curve = fit.fit(method, *found)  # type: ignore[arg-type]
    values = fit.apply(curve, np.linspace(0, 1, 101))
    assert (np.diff(values) >= 0).all()
    assert ((values >= 0) & (values <= 1)).all()
    again = curve_of(pickle.loads(pickle.dumps(curve.as_dict())))
    assert (fit.apply(again, found[0]) == fit.apply(curve, found[0])).all()


@settings(max_examples=40, deadline=None)
@given(slices(), st.floats(0.01, 0.6))
def test_the_threshold_keeps_its_rate_and_is_the_lowest(found: tuple[Floats, Bools], fpr: float) -> None:
    p, harmful = found
    try:
        at = threshold(p, harmful, fpr)
    except UsageError:
        highest = p[~harmful].max()
        assert (p[~harmful] == highest).mean() > fpr or not (p[harmful] > highest).any()
        return
    assert (p[~harmful] >= at).mean() <= fpr
    lower = p[p < at]
    if len(lower):  # the next lower value would break the rate
        assert (p[~harmful] >= lower.max()).mean() > fpr


def test_unseen_rates_see_neither_the_curve_nor_the_threshold() -> None:
    """Labels of a fold's own rows change nothing of what is said of them."""
    said, labels = overconfident(200)
    p, harmful = np.array(said), np.array(labels)
    folds = fit.held_out("isotonic", p, harmful, 5, 0).folds
    found = unseen_rates(folds, p, harmful, 0.1)
    flagged = 0
    for each in folds:
        curve = fit.fit("isotonic", p[each.seen], harmful[each.seen])
        at = threshold(fit.apply(curve, p[each.seen]), harmful[each.seen], 0.1)
        flagged += int((fit.apply(curve, p[each.unseen])[~harmful[each.unseen]] >= at).sum())
    assert found is not None
    assert found["false_positive"]["hits"] == flagged


def test_platt_by_hand() -> None:
    """Where p is the frequency already, slope 1 and intercept 0 come out (Platt's targets pull a little inwards)."""
    p, harmful = [], []
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        p += [share] * 1000
        harmful += [True] * int(1000 * share) + [False] * int(1000 - 1000 * share)
    curve = fit.fit("platt", np.array(p), np.array(harmful))
    assert curve.slope == pytest.approx(1, abs=0.01)
    assert curve.intercept == pytest.approx(0, abs=0.01)
    assert curve(0.3) == pytest.approx(0.3, abs=0.005)


def test_isotonic_by_hand() -> None:
    """Pool adjacent violators: 0.4 (harmless) and 0.3 (harmful) share their mean."""
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.8])
    curve = fit.fit("isotonic", p, np.array([False, False, True, False, True]))
    assert fit.apply(curve, p).tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve(0.6) == pytest.approx(0.75)


def test_separable_classes_stay_finite() -> None:
    p, harmful = np.array([0.1] * 10 + [0.9] * 10), np.array([False] * 10 + [True] * 10)
    curve = fit.fit("platt", p, harmful)
    assert math.isfinite(curve.slope)
    assert curve(0.1) == pytest.approx(1 / 12, abs=0.01)


def test_an_overconfident_judge_is_mended_on_held_out_rows() -> None:
    said, labels = overconfident()
    p, harmful = np.array(said), np.array(labels)
    out = fit.held_out("auto", p, harmful, 5, 0)
    assert sum(out.chosen.values()) == 5
    assert ece(out.p, harmful) < ece(p, harmful) / 2
    assert brier(out.p, harmful) < brier(p, harmful)


def test_held_out_rows_do_not_see_their_own_label() -> None:
    """Turning one row's label may change what others get, and never what the row itself gets."""
    said, labels = overconfident(60)
    p, harmful = np.array(said), np.array(labels)
    folds = list(fit.splits(harmful, 5, 0))
    train, rest = folds[0]
    before = fit.apply(fit.fit("isotonic", p[train], harmful[train]), p[rest])
    assert (fit.held_out("isotonic", p, harmful, 5, 0).p[rest] == before).all()


@pytest.mark.parametrize(
    ("p", "harmful", "words"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], [True, False, True, False, True], "at least 10 of each"),
        ([0.1 * (k % 9) for k in range(40)], [True] * 40, "40 harmful and 0 harmless"),
        ([0.5] * 40, [k % 2 == 0 for k in range(40)], "tells nothing apart"),
    ],
)
def test_degenerate_slices_are_refused(p: list[float], harmful: list[bool], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit.check(np.array(p), np.array(harmful), 5)


def test_a_threshold_that_finds_nothing_is_refused() -> None:
    p, harmful = np.array([0.9, 0.2, 0.3]), np.array([False, True, True])
    with pytest.raises(UsageError, match="no threshold keeps"):
        threshold(p, harmful, 0.01)


def test_bands() -> None:
    p = np.array([0.1, 0.2, 0.6, 0.4, 0.7, 0.9])
    harmful = np.array([False, False, False, True, True, True])
    at = threshold(p, harmful, 0.01)
    assert at == pytest.approx(0.65)
    assert lower_edge(p, harmful, 0.01) == 0.4
    assert band("auto", p, harmful, at, 0.01) == (0.4, at)
    assert band("auto", np.array([0.1, 0.1, 0.2, 0.7, 0.8, 0.9]), harmful, 0.45, 0.01) is None
    assert band("none", p, harmful, at, 0.01) is None
    assert band("0.2,0.9", p, harmful, at, 0.01) == (0.2, 0.9)
    for wrong in ("0.9,0.2", "0.3", "a,b", "0.1,1.5"):
        with pytest.raises(UsageError, match="LOW,HIGH"):
            band(wrong, p, harmful, at, 0.01)


def test_a_falling_curve_is_no_curve() -> None:
    with pytest.raises(ValueError, match="slope"):
        curve_of({"method": "platt", "slope": -1, "intercept": 0})
    with pytest.raises(ValueError, match="fall"):
        curve_of({"method": "isotonic", "xs": [0.1, 0.2], "ys": [0.5, 0.4]})
    assert logit(1.0) == pytest.approx(-logit(0.0))
    assert Curve("platt")(0.5) == 0.5
