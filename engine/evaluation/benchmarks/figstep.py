"""FigStep: attack success over its ten topics. The class of attack that ECSO's caption step can carry into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, parts_of, unsafe_metrics


@dataclass(frozen=True, slots=True)
class FigStep:
    """SafeBench by default; SafeBench-Tiny where it is asked for."""

    name: str = "figstep"
    kind: Kind = "safety"
    source_note: str = "FigStep, arXiv 2311.05608, MIT"
    judges: tuple[str, ...] = ("keywords", "self")

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        splits = {"SafeBench": "SafeBench", "SafeBench-Tiny": "SafeBench-Tiny"}
        return parts_of(self.name, self.name, path, options, splits, 1024, ("SafeBench",))

    def judge_for(self, answer_category: str | None) -> str | None:
        """By the topic's name: three of the ten are advice, where a warning makes an answer safe."""
        words = (answer_category or "").lower()
        return next((family for family in ("legal", "financial", "health") if words.startswith(family)), "general")

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            for topic, some in grouped(rows, lambda answer: answer.category).items():
                found += unsafe_metrics(topic, part, some)
            found += unsafe_metrics(ALL, part, rows)
        return found


def benchmark() -> FigStep:
    return FigStep()
