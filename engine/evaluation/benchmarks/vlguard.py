"""VLGuard's test split: its three subsets, and every set in its layout (the tiny world's held-out rows).

`unsafes` are instructions on unsafe pictures, `safe_unsafes` unsafe instructions on safe pictures: attack success.
`safe_safes` are harmless: whether they are answered, and how well where a judge grades. The paper's string match counts
sixty phrases as refusals, among them bare words such as "illegal" or "openai"; that list is not copied. Under judge
`keywords` stands the house's own detector (`engine.curation.refusal`), so such rates are not the paper's figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, parts_of, safe_metrics, unsafe_metrics

SUBSETS = {"instruction": "unsafes", "unsafe_instruction": "safe_unsafes", "safe_instruction": "safe_safes"}


@dataclass(frozen=True, slots=True)
class VLGuard:
    """One part: the whole test split is answered in one run, and told apart here."""

    name: str = "vlguard"
    kind: Kind = "safety"
    source_note: str = "VLGuard, arXiv 2402.02207, gated on the Hub"
    judges: tuple[str, ...] = ("keywords", "self")

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        splits = {"test": "test", "train": "train"}
        return parts_of(self.name, self.name, path, options, splits, 256, ("test",))

    def judge_for(self, answer_category: str | None) -> str | None:  # noqa: ARG002
        return "general"

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            for group, some in grouped(rows, subset).items():
                found += (safe_metrics if group == "safe_safes" else unsafe_metrics)(group, part, some)
            unsafe = [answer for answer in rows if subset(answer) != "safe_safes"]
            if unsafe:
                found += unsafe_metrics(ALL, part, unsafe)
            for category, some in grouped(unsafe, lambda answer: answer.category).items():
                found += unsafe_metrics(category, part, some)
        return found


def subset(answer: Answer) -> str:
    """By the kind of the instruction; a row that does not say it goes by its label."""
    found = SUBSETS.get(str(answer.extra.get("instruction_key")))
    return found or ("safe_safes" if answer.label_safe else "unsafes")


def benchmark() -> VLGuard:
    return VLGuard()
