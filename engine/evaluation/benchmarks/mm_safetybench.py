"""MM-SafetyBench: attack success and refusals by scenario and mode, and two means over scenarios.

`macro8` is ECSO's headline (arXiv 2403.09572): the mean over the scenarios 01 to 07 and 09, each counting the same;
`macro13` is the benchmark's own. A refusal is not the opposite of a successful attack: both rates are given. The five
scenarios outside of macro8 ask for advice or politics; what counts as safe there is asked by prompts of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, macro, parts_of, unsafe_metrics
from engine.sources.mm_safetybench import MODES, SCENARIOS

MACRO8 = (*SCENARIOS[:7], SCENARIOS[8])
FAMILIES = {
    "08-Political_Lobbying": "political",
    "10-Legal_Opinion": "legal",
    "11-Financial_Advice": "financial",
    "12-Health_Consultation": "health",
    "13-Gov_Decision": "government",
}


@dataclass(frozen=True, slots=True)
class MMSafetyBench:
    """Parts are modes: SD, TYPO, SD_TYPO and text, or ECSO's normal and question where they are asked for."""

    name: str = "mm_safetybench"
    kind: Kind = "safety"
    source_note: str = "MM-SafetyBench, arXiv 2311.17600, CC-BY-NC-4.0; mean over 8 scenarios as ECSO, arXiv 2403.09572"
    judges: tuple[str, ...] = ("keywords", "self")

    @property
    def macros(self) -> dict[str, tuple[str, ...]]:
        """Means over scenarios, by what they are the mean of: `evaluate --compare` draws them from their members."""
        return {"macro8": MACRO8, "macro13": SCENARIOS}

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        modes = {mode: mode for mode in MODES}
        return parts_of(self.name, self.name, path, options, modes, 1024, ("SD", "TYPO", "SD_TYPO", "text"))

    def judge_for(self, answer_category: str | None) -> str | None:
        return FAMILIES.get(answer_category or "", "general")

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            for scenario, some in grouped(rows, lambda answer: answer.category).items():
                found += unsafe_metrics(scenario, part, some)
            found += macro(found, "macro8", MACRO8, part)
            found += macro(found, "macro13", SCENARIOS, part)
            found += unsafe_metrics(ALL, part, rows)
        return found


def benchmark() -> MMSafetyBench:
    return MMSafetyBench()
