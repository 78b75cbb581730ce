"""Which rows a preview takes, and what it makes of them."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest

from engine.preview.choose import choose, shares
from engine.preview.estimate import Answered, Figure, Pace, estimate, formula, mean, share
from engine.sources import SourceConfig, iter_rows, open_source, select
from tests.pipelines.conftest import folder_of

SOCKS, HATS = ("socks", "safe"), ("hats", "unsafe")
PACE = Pace(rows_per_s=2.0, in_flight=8, engines=1)


def row(
    stratum: tuple[str, str] = SOCKS, *, harmful: bool | None = False, calls: int | None = None, seconds: float = 4.0
) -> Answered:
    made = calls if calls is not None else (5 if harmful else 2)
    return Answered(
        stratum, made, prompt_tokens=100 * made, completion_tokens=10 * made, seconds=seconds, harmful=harmful
    )


# --- choosing ------------------------------------------------------------------------------------------------------


def test_every_stratum_first_then_by_size() -> None:
    sizes = {("a", "safe"): 700, ("b", "safe"): 200, ("c", "unsafe"): 99, ("d", "unsafe"): 1}
    found = shares(sizes, 16)
    assert sum(found.values()) == 16
    assert found[("d", "unsafe")] == 1  # never more than there are
    assert found[("a", "safe")] > found[("b", "safe")] > found[("c", "unsafe")] >= 1
    assert shares(sizes, 2) == {("a", "safe"): 1, ("b", "safe"): 1}  # too few for all: the largest
    assert shares({("d", "unsafe"): 3}, 16) == {("d", "unsafe"): 3}


def test_rows_are_drawn_by_a_seed(tmp_path: Path) -> None:
    lines = [
        {"image": "0.png", "text": f"What is sock {k}?", "category": "socks" if k % 4 else "hats", "safe": bool(k % 2)}
        for k in range(40)
    ]
    plan = select(
        open_source(SourceConfig("folder", path=str(folder_of(tmp_path / "in", [*lines, "{ broken"])))).windows()
    )
    one, again, other = choose(plan, 8), choose(plan, 8), choose(plan, 8, seed=1)
    texts = [
        [r.text for window, selection in each.plan.windows for r in iter_rows(window, selection)]
        for each in (one, again, other)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == one.plan.total == sum(one.taken.values()) == 8
    assert sum(one.sizes.values()) == 40
    assert one.unreadable == 1
    assert set(one.taken) == set(one.sizes)


# --- estimating ----------------------------------------------------------------------------------------------------


def test_the_formula() -> None:
    assert formula(Figure(0.0, 0.0, 0.5)) == Figure(2.0, 2.0, 3.0)
    assert formula(Figure(1.0, 0.5, 1.0)) == Figure(4.0, 3.0, 4.0)


def test_strata_weigh_by_their_size() -> None:
    """One harmful row of a rare kind does not make a quarter of the job harmful."""
    rows = [row(), row(), row(), row(HATS, harmful=True)]
    found = estimate(rows, {SOCKS: 990, HATS: 10}, 1000, PACE, engines=1, gpus=0, price=None, ecso=True)
    assert found.p_harmful is not None
    assert found.p_harmful.value == pytest.approx(0.01)
    assert found.p_harmful.low <= 0.01 <= found.p_harmful.high
    assert found.calls_per_row.value == pytest.approx(0.99 * 2 + 0.01 * 5)
    assert found.rechecks_per_row == pytest.approx(0.01)  # one re-check for a harmful row
    assert found.calls.value == pytest.approx(1000 * found.calls_per_row.value)


def test_nothing_harmful_seen_is_not_never() -> None:
    found = estimate([row() for _ in range(16)], {SOCKS: 500}, 500, PACE, engines=1, gpus=0, price=None, ecso=True)
    assert found.p_harmful is not None
    assert found.p_harmful.value == 0
    assert 0.15 < found.p_harmful.high < 0.25  # Wilson for 0 of 16
    assert found.calls_per_row.low == 2
    assert found.calls_per_row.high == pytest.approx(2 + 3 * found.p_harmful.high)
    assert found.hours.high > found.hours.value


def test_hours_and_cost() -> None:
    rows = [row(harmful=k % 2 == 0) for k in range(16)]
    found = estimate(rows, {SOCKS: 7200}, 7200, PACE, engines=4, gpus=8, price=2.5, ecso=True)
    assert found.rows_per_s == 8
    assert found.hours.value == pytest.approx(0.25)
    assert found.cost is not None
    assert found.cost.value == pytest.approx(0.25 * 8 * 2.5)
    assert found.cost.low < found.cost.value < found.cost.high
    given = estimate(rows, {SOCKS: 7200}, 7200, Pace(100, 8, 4, given=True), engines=4, gpus=8, price=None, ecso=True)
    assert given.rows_per_s == 100
    assert given.cost is None


def test_other_strategies_and_errors() -> None:
    rows = [row(harmful=None, calls=1), row(harmful=None, calls=1), Answered(SOCKS, 0, 0, 0, 0.0, None, error=True)]
    found = estimate(rows, {SOCKS: 30}, 30, PACE, engines=1, gpus=0, price=None, ecso=False)
    assert found.p_harmful is None
    assert found.formula_calls_per_row is None
    assert found.calls_per_row == Figure(1.0, 1.0, 1.0)
    assert found.errors.value == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no row was answered"):
        estimate([], {SOCKS: 3}, 3, PACE, engines=1, gpus=0, price=None, ecso=True)


def test_wilson_on_even_weights_is_wilson() -> None:
    from engine.evaluation.rates import wilson

    hits = np.array([1.0] * 3 + [0.0] * 13)
    found, known = share(hits, np.full(16, 1 / 16)), wilson(3, 16)
    assert (found.value, found.low, found.high) == pytest.approx((known.share, known.low, known.high))
    assert mean(hits, np.full(16, 1.0)).value == pytest.approx(known.share)


def test_intervals_hold_what_they_say() -> None:
    """Of 300 previews of a known job, the calls per row of the job lie inside in at least 93 %."""
    dice = random.Random(5)
    inside = 0
    for _ in range(300):
        rows = [row(harmful=dice.random() < 0.3) for _ in range(16)]
        found = estimate(rows, {SOCKS: 9000}, 9000, PACE, engines=1, gpus=0, price=None, ecso=True)
        inside += found.calls_per_row.low <= 2 + 3 * 0.3 <= found.calls_per_row.high
    assert inside / 300 >= 0.93
    assert not math.isinf(found.hours.value)
