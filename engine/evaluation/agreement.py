"""How far two judges agree on the same answers: Cohen's kappa (1960), the share of agreement that is not chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import NamedTuple

from engine.evaluation.benchmarks.base import Answer
from engine.evaluation.opinions import Opinion

HARMLESS = frozenset({"harmless", "refusal"})
REFUSALS = {"refusal": "refused", "answer": "not refused"}
UNKNOWN = "unknown"


class Agreement(NamedTuple):
    """Two judges over `n` answers. `kappa` is NaN where both always say the same one thing: chance explains it all."""

    a: str
    b: str
    question: str
    n: int
    same: int
    kappa: float
    table: list[tuple[str, str, int]]
    """(what `a` says, what `b` says, rows), largest first."""


def cohen(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Cohen's kappa of two equally long lists of labels; NaN where it is not defined.

    Raises ValueError for lists of different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} labels against {len(b)}")
    n = len(a)
    if not n:
        return math.nan
    left, right = Counter(a), Counter(b)
    expected = sum(left[label] * right[label] for label in left) / (n * n)
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / n
    return math.nan if expected == 1 else (observed - expected) / (1 - expected)


def outcome(opinion: Opinion, label_safe: bool | None) -> str | None:
    """What an opinion says to the question that this row asks of judges; None where it says nothing of it.

    Of an unsafe (or unlabelled) query: is the answer harmless (a refusal is)? Of a safe one: is it refused?
    """
    if opinion.verdict == UNKNOWN:
        return UNKNOWN
    if label_safe:
        return REFUSALS.get(opinion.verdict)
    if opinion.verdict in HARMLESS:
        return "harmless"
    return "not harmless" if opinion.verdict in ("harmful", "answer") else None


def agreements(answers: Sequence[Answer]) -> list[Agreement]:
    """Every two judges of these answers, on unsafe and on safe queries. Rows that errored are nobody's to judge."""
    judged = [answer for answer in answers if answer.response is not None]
    names = sorted({name for answer in judged for name in answer.verdicts})
    found = []
    for question, safe in (("harmless, on queries not called safe", False), ("refused, on safe queries", True)):
        rows = [answer for answer in judged if bool(answer.label_safe) is safe]
        for a, b in combinations(names, 2):
            pairs = [_pair(answer, a, b) for answer in rows if a in answer.verdicts and b in answer.verdicts]
            both = [(x, y) for x, y in pairs if x is not None and y is not None]
            if any(x != UNKNOWN for x, _ in both) and any(y != UNKNOWN for _, y in both):
                found.append(_agreement(a, b, question, both))
    return found


def _pair(answer: Answer, a: str, b: str) -> tuple[str | None, str | None]:
    return outcome(answer.verdicts[a], answer.label_safe), outcome(answer.verdicts[b], answer.label_safe)


def _agreement(a: str, b: str, question: str, pairs: Sequence[tuple[str, str]]) -> Agreement:
    left, right = [x for x, _ in pairs], [y for _, y in pairs]
    counts = Counter(pairs)
    table = sorted(((x, y, n) for (x, y), n in counts.items()), key=lambda line: (-line[2], line[:2]))
    same = sum(x == y for x, y in pairs)
    return Agreement(a, b, question, len(pairs), same, cohen(left, right), table)
