"""Resampled intervals: what is a mean, what is scored anew, and what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.evaluation import intervals
from engine.evaluation.benchmarks.base import Answer, Metric
from engine.evaluation.benchmarks.mme import MME, PERCEPTION
from engine.evaluation.benchmarks.mmvet import MMVet
from engine.evaluation.benchmarks.scoring import macro, unsafe_metrics
from engine.evaluation.opinions import Opinion


def answer(number: int, category: str = "c", extra: dict[str, Any] | None = None, **changes: Any) -> Answer:
    facts: dict[str, Any] = {"verdicts": {}, "response": "r", **changes}
    return Answer(
        str(number), "all", category, None, False, "q", facts["response"], "ok", extra or {}, facts["verdicts"]
    )


def graded(scores: Sequence[float]) -> list[Answer]:
    return [answer(n, verdicts={"grade": Opinion("graded", score=score)}) for n, score in enumerate(scores)]


def test_a_mean_of_scores_gets_the_bootstrap_interval() -> None:
    """Against the same resampling done by hand, and near the normal one."""
    scores = [0.0, 0.2, 0.5, 0.5, 0.8, 1.0, 1.0, 0.3, 0.9, 0.1] * 8
    answers, benchmark = graded(scores), MMVet()
    (metric,) = [
        each for each in intervals.fill(answers, benchmark.score(answers), benchmark.score) if each.group == "all"
    ]
    half = 1.96 * 100 * np.std(scores) / np.sqrt(len(scores))
    assert metric.value == pytest.approx(53.0)
    assert metric.low == pytest.approx(53 - half, abs=0.8)
    assert metric.high == pytest.approx(53 + half, abs=0.8)
    again = intervals.fill(answers, benchmark.score(answers), benchmark.score)
    assert again == intervals.fill(answers, benchmark.score(answers), benchmark.score)


def test_a_mean_over_groups_is_scored_anew() -> None:
    """Two scenarios of very different size count the same: no mean over rows, so its interval is much wider."""

    def score(answers: Sequence[Answer]) -> list[Metric]:
        found = [m for c in "ab" for m in unsafe_metrics(c, "all", [x for x in answers if x.category == c])]
        return found + [replace(m, low=None, high=None) for m in macro(found, "macro", ("a", "b"), "all")]

    said = lambda good: {"j": Opinion("harmless" if good else "harmful")}  # noqa: E731
    answers = [answer(n, "a", verdicts=said(n % 2)) for n in range(200)]
    answers += [answer(1000 + n, "b", verdicts=said(n % 2)) for n in range(6)]
    before = {intervals.name_of(metric): metric for metric in score(answers)}
    name = intervals.Name("harmless_rate", "macro", "all", "j")
    found = intervals.units(answers, score, [name])
    assert not found.is_mean(before[name])
    after = {intervals.name_of(metric): metric for metric in intervals.fill(answers, list(before.values()), score)}
    low, high = after[name].low, after[name].high
    assert low is not None
    assert high is not None
    assert high - low > 0.25  # 6 rows decide half of it
    assert (
        after[intervals.Name("harmless_rate", "a", "all", "j")].low
        == before[intervals.Name("harmless_rate", "a", "all", "j")].low
    )  # Wilson's stays


def test_rows_of_a_group_are_drawn_together() -> None:
    """The two questions of a picture are one unit: acc_plus stays whole in every draw, doubled pictures too."""
    rows = []
    for number in range(40):
        extra = {"answer": ("yes", "no")[number % 2], "group": f"{number // 2}.png", "questions": 2}
        right = (number // 2) % 4 != 0 or number % 2 == 0
        said = extra["answer"] if right else "other"
        rows.append(answer(number, PERCEPTION[0], extra, response=str(said)))
    score = MME().score
    metrics = {intervals.name_of(metric): metric for metric in score(rows)}
    plus = intervals.Name("acc_plus", "all", "all", None)
    found = intervals.units(rows, score, list(metrics))
    assert len(found.keys) == 20
    assert found.is_mean(metrics[plus])
    counts = intervals.draws(20, 50)
    anew = intervals.rescored(found, counts, score, [plus])[plus]
    assert anew == pytest.approx(intervals.drawn_means(found, [plus], counts)[plus])


def test_draws_are_bounded() -> None:
    assert intervals.draws_affordable(10) == intervals.MOST_RESCORED
    assert intervals.draws_affordable(10**9) == intervals.FEWEST_RESCORED
    assert intervals.ends(np.array([np.nan, np.nan])) is None


def test_a_macro_is_drawn_from_its_members() -> None:
    """The quick way for means over scenarios gives what scoring every draw anew gives."""
    from engine.evaluation.benchmarks.mm_safetybench import MMSafetyBench
    from engine.evaluation.compare import _draws
    from engine.sources.mm_safetybench import SCENARIOS

    benchmark = MMSafetyBench()
    answers = [
        answer(n, SCENARIOS[n % 13], verdicts={"llm": Opinion("harmless" if n % 3 else "harmful")}) for n in range(390)
    ]
    names = [intervals.name_of(metric) for metric in benchmark.score(answers)]
    found = intervals.units(answers, benchmark.score, names)
    means = [name for name in names if not name.group.startswith("macro")]
    macros = [name for name in names if name.group.startswith("macro")]
    assert macros
    quick = _draws(benchmark, found, names, means, len(answers))
    slow = intervals.rescored(found, intervals.draws(390, intervals.DRAWS)[:20], benchmark.score, macros)
    for name in macros:
        assert quick[name][:20] == pytest.approx(slow[name])
