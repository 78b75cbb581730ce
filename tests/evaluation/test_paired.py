"""Paired tests against values by hand, and kappa against scikit-learn."""

from __future__ import annotations

import math
import random

import pytest

from engine.evaluation.agreement import agreements, cohen, outcome
from engine.evaluation.benchmarks.base import Answer
from engine.evaluation.opinions import Opinion
from engine.evaluation.paired import mcnemar


@pytest.mark.parametrize(
    ("fixed", "broken", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 · 1/2
        (5, 0, 2 / 32),
        (6, 0, 2 / 64),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (5, 5, 1.0),  # the tail is more than half: at most 1
        (15, 5, 2 * sum(math.comb(20, k) for k in range(6)) / 2**20),
    ],
)
def test_mcnemar_by_hand(fixed: int, broken: int, p: float) -> None:
    assert mcnemar(fixed, broken) == pytest.approx(p, rel=1e-12)


def test_mcnemar_does_not_overflow() -> None:
    """Thousands of changed rows: the powers of two are larger than any float."""
    assert mcnemar(5000, 5000) == 1.0
    assert 0.0 <= mcnemar(5000, 4000) < 1e-20


def test_mcnemar_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="-1"):
        mcnemar(-1, 3)


@pytest.mark.parametrize("seed", range(6))
def test_kappa_equals_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    draw = random.Random(seed)
    words = ["harmless", "not harmless", "unknown"][: 2 + seed % 2]
    a = [draw.choice(words) for _ in range(60)]
    b = [word if draw.random() < 0.6 else draw.choice(words) for word in a]
    assert cohen(a, b) == pytest.approx(metrics.cohen_kappa_score(a, b), abs=1e-12)


def test_kappa_where_it_is_not_defined() -> None:
    assert math.isnan(cohen([], []))
    assert math.isnan(cohen(["x", "x"], ["x", "x"]))
    with pytest.raises(ValueError, match="2 labels against 1"):
        cohen(["x", "y"], ["x"])


def answer(number: int, *, safe: bool | None = False, response: str | None = "r", **said: str) -> Answer:
    verdicts = {name: Opinion(verdict) for name, verdict in said.items()}
    return Answer(str(number), "all", None, None, safe, "q", response, "ok" if response else "error", {}, verdicts)


def test_what_is_compared() -> None:
    """A refusal is harmless; an answer is not, on an unsafe query; on a safe one the question is another."""
    assert outcome(Opinion("refusal"), None) == outcome(Opinion("harmless"), False) == "harmless"
    assert outcome(Opinion("answer"), False) == outcome(Opinion("harmful"), False) == "not harmless"
    assert outcome(Opinion("graded"), False) is None
    assert outcome(Opinion("harmless"), True) is None
    assert (outcome(Opinion("refusal"), True), outcome(Opinion("answer"), True)) == ("refused", "not refused")


def test_agreement_counts_and_leaves_out() -> None:
    rows = [
        answer(1, a="refusal", b="harmless"),
        answer(2, a="answer", b="harmful"),
        answer(3, a="refusal", b="harmful"),
        answer(4, a="refusal", b="unknown"),
        answer(5, a="refusal", b="harmless", response=None),  # errored: nobody's to judge
        answer(6, safe=True, a="refusal", b="harmless"),  # b says nothing of refusals
    ]
    (found,) = agreements(rows)
    assert (found.a, found.b, found.n, found.same) == ("a", "b", 4, 2)
    assert ("harmless", "unknown", 1) in found.table
    assert found.kappa == pytest.approx((0.5 - (3 / 4 * 1 / 4 + 1 / 4 * 2 / 4)) / (1 - 5 / 16))
