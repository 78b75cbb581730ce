"""Brier score, ECE, AUC and bins against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calibration.measures import auc, brier, ece, figure, reliability

P = np.array([0.1, 0.3, 0.35, 0.8])
HARMFUL = np.array([False, True, False, True])


def test_brier_by_hand() -> None:
    # (0.01 + 0.49 + 0.1225 + 0.04) / 4
    assert brier(P, HARMFUL) == pytest.approx(0.165625)


def test_ece_by_hand() -> None:
    # bins: [.1,.2) p .1 harmful 0; [.3,.4) p .325 harmful .5; [.8,.9) p .8 harmful 1; weights 1/4, 2/4, 1/4
    assert ece(P, HARMFUL) == pytest.approx((1 * 0.1 + 2 * 0.175 + 1 * 0.2) / 4)


def test_auc_by_hand() -> None:
    # pairs (harmful, harmless): .3>.1 yes, .3>.35 no, .8>.1 yes, .8>.35 yes; and one tie counts half
    assert auc(P, HARMFUL) == pytest.approx(3 / 4)
    assert auc(np.array([0.5, 0.5]), np.array([True, False])) == 0.5


def test_a_perfect_judge_and_a_coin() -> None:
    sure = HARMFUL.astype(float)
    assert (brier(sure, HARMFUL), ece(sure, HARMFUL)) == (0, 0)
    assert brier(np.full(4, 0.5), HARMFUL) == 0.25


def test_bins_hold_every_row_and_one_belongs_to_the_last() -> None:
    found = reliability(np.array([0.0, 0.1, 0.999, 1.0]), HARMFUL)
    assert [each.rows for each in found] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert found[9].harmful == 1
    assert found[9].mean_p == pytest.approx(0.9995)
    assert found[2].mean_p is None


def test_interval_holds_the_value_and_is_repeatable() -> None:
    first, again = figure(brier, P, HARMFUL, 7), figure(brier, P, HARMFUL, 7)
    assert first == again
    assert first.low <= first.value <= first.high


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_scores_stay_in_their_range(rows: list[tuple[float, bool]]) -> None:
    p, harmful = np.array([each for each, _ in rows]), np.array([each for _, each in rows])
    assert 0 <= brier(p, harmful) <= 1
    assert 0 <= ece(p, harmful) <= 1
    assert sum(each.rows for each in reliability(p, harmful)) == len(rows)
