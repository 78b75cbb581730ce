"""VLSafe: one harmless rate over 1,110 harmful questions on ordinary photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, parts_of, unsafe_metrics


@dataclass(frozen=True, slots=True)
class VLSafe:
    """The examine split; ECSO judges question and answer together."""

    name: str = "vlsafe"
    kind: Kind = "safety"
    source_note: str = "VLSafe, arXiv 2311.10081; pictures of COCO train2017"
    judges: tuple[str, ...] = ("keywords", "self")

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        splits = {"examine": "examine", "alignment": "alignment"}
        return parts_of(self.name, self.name, path, options, splits, 1024, ("examine",))

    def judge_for(self, answer_category: str | None) -> str | None:  # noqa: ARG002
        return "general"

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            found += unsafe_metrics(ALL, part, rows)
        return found


def benchmark() -> VLSafe:
    return VLSafe()
