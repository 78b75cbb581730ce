"""MOSSBench: how often harmless questions that look alarming are refused. The counterweight of every safety claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, parts_of, safe_metrics


@dataclass(frozen=True, slots=True)
class MOSSBench:
    """Refusal rate, lower is better; by kind of stimulus."""

    name: str = "mossbench"
    kind: Kind = "over_refusal"
    source_note: str = "MOSSBench, arXiv 2406.17806, CC-BY-4.0"
    judges: tuple[str, ...] = ("keywords",)

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        return parts_of(self.name, self.name, path, options, {"test": "test"}, 1024)

    def judge_for(self, answer_category: str | None) -> str | None:  # noqa: ARG002
        return "general"

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            for kind, some in grouped(rows, lambda answer: answer.category).items():
                found += safe_metrics(kind, part, some)
            found += safe_metrics(ALL, part, rows)
        return found


def benchmark() -> MOSSBench:
    return MOSSBench()
