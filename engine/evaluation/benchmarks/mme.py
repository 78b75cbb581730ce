"""MME: for each task 100 · (share of questions right) + 100 · (share of pictures with both right); sums over tasks.

Perception is the sum over ten tasks (at most 2,000), cognition over four (800); each is given only where all of its
tasks have answers. Tasks of another name (a set of one's own in MME's layout) have their own scores only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, parts_of, rate_metric, share
from engine.sources.mme import COGNITION, PERCEPTION


@dataclass(frozen=True, slots=True)
class MME:
    """Code decides. `llava` asks in LLaVA's wording, which its published figures are from."""

    name: str = "mme"
    kind: Kind = "utility"
    source_note: str = "MME, arXiv 2306.13394; parsed as its own calculation.py does"
    judges: tuple[str, ...] = ()

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        splits = {"test": "test", "llava": "llava"}
        return parts_of(self.name, self.name, path, options, splits, 128, ("test",))

    def judge_for(self, answer_category: str | None) -> str | None:  # noqa: ARG002
        return None

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            tasks = {task: task_metrics(task, part, some) for task, some in grouped(rows, _task).items()}
            found += [metric for metrics in tasks.values() for metric in metrics]
            for name, members in (("perception", PERCEPTION), ("cognition", COGNITION)):
                if all(task in tasks for task in members):
                    found.append(_sum(name, part, [tasks[task][0] for task in members]))
            found.append(_accuracy(ALL, part, rows))
            found.append(_acc_plus(ALL, part, rows))
        return found


def parse(reply: str) -> str:
    """`yes`, `no` or `other`: the whole reply, else its first four characters (MME's calculation.py)."""
    text = reply.strip().lower()
    if text in ("yes", "no"):
        return text
    start = text[:4]
    return "yes" if "yes" in start else "no" if "no" in start else "other"


def is_right(answer: Answer) -> bool:
    return answer.response is not None and parse(answer.response) == answer.extra.get("answer")


def task_metrics(task: str, part: str, rows: Sequence[Answer]) -> list[Metric]:
    """Score (points), accuracy and acc_plus of one task."""
    accuracy, plus = _accuracy(task, part, rows), _acc_plus(task, part, rows)
    value = 100 * accuracy.value + 100 * (0.0 if math.isnan(plus.value) else plus.value)
    score = Metric("score", task, part, None, value, "points", accuracy.n, None, None, None)
    return [replace(score, unparsed=accuracy.unparsed, errors=accuracy.errors), accuracy, plus]


def _accuracy(group: str, part: str, rows: Sequence[Answer]) -> Metric:
    return share("accuracy", group, part, rows, is_right, is_read=_is_read)


def _is_read(answer: Answer) -> bool:
    return answer.response is not None and parse(answer.response) != "other"


def _acc_plus(group: str, part: str, rows: Sequence[Answer]) -> Metric:
    """Of pictures. One whose questions were not all asked (`--limit` cut between them) is left out."""
    pictures = grouped(rows, lambda answer: f"{answer.category}\0{answer.extra.get('group')}")
    whole = [some for some in pictures.values() if len(some) >= int(some[0].extra.get("questions", 2))]
    hits = sum(all(map(is_right, some)) for some in whole)
    errors = sum(any(answer.response is None for answer in some) for some in whole)
    return rate_metric("acc_plus", group, part, hits, len(whole), errors=errors)


def _sum(name: str, part: str, scores: Sequence[Metric]) -> Metric:
    value = math.fsum(metric.value for metric in scores)
    counts = {field: sum(getattr(metric, field) for metric in scores) for field in ("n", "unparsed", "errors")}
    return Metric("score", name, part, None, value, "points", hits=None, low=None, high=None, **counts)


def _task(answer: Answer) -> str | None:
    return answer.category


def benchmark() -> MME:
    return MME()
