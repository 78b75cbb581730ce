"""MM-Vet: 100 · mean of a grader's scores (0.0 to 1.0), by capability and by integration of capabilities.

Group `ocr` holds every question that needs it, `only math_ocr` those that need exactly these.

The paper's grader is gpt-4-0613 with its own few-shot prompt; judge `grade` asks whichever model is named, in the
house's words, so figures are comparable only between runs of the same grader. A reply without a score counts 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, judges_in, mean_score, parts_of

CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")


@dataclass(frozen=True, slots=True)
class MMVet:
    """Needs a judge that grades. 1,024 tokens, as LLaVA's own script; ECSO's has 128."""

    name: str = "mmvet"
    kind: Kind = "utility"
    source_note: str = "MM-Vet, arXiv 2308.02490, CC-BY-NC-4.0"
    judges: tuple[str, ...] = ("grade",)

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        return parts_of(self.name, self.name, path, options, {"test": "test"}, 1024)

    def judge_for(self, answer_category: str | None) -> str | None:  # noqa: ARG002
        return None

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            for judge in judges_in(rows):
                found.append(mean_score("score", ALL, part, rows, judge))
                for name in CAPABILITIES:
                    some = [answer for answer in rows if name in answer.extra.get("capability", ())]
                    if some:
                        found.append(mean_score("score", name, part, some, judge))
                for name, some in grouped(rows, integration).items():
                    found.append(mean_score("score", f"only {name}", part, some, judge))
        return found


def integration(answer: Answer) -> str | None:
    """The capabilities that a question needs together: `math_ocr_spat`, in alphabetical order."""
    return "_".join(sorted(answer.extra.get("capability", ()))) or None


def benchmark() -> MMVet:
    return MMVet()
