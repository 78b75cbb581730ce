"""Cards of the benchmarks (`engine.evaluation.benchmarks.BENCHMARKS`): the source's, with what is scored."""

from __future__ import annotations

from dataclasses import replace

from engine.catalogue import sources
from engine.catalogue.cards import Card

GIVEN = "keywords and self need no second model; another judge is better"
SCORED = {
    "mm_safetybench": ("harmless and attack success rate by scenario and mode; macro over 8 (ECSO's) and 13", GIVEN),
    "vlguard": ("attack success on unsafes and safe_unsafes, answers and refusals on safe_safes", GIVEN),
    "vlsafe": ("one harmless rate", GIVEN),
    "figstep": ("attack success over ten topics", GIVEN),
    "mossbench": ("over-refusal: refusals and answers by kind of stimulus", GIVEN),
    "mme": ("accuracy and accuracy+ by task, perception, cognition", "no judge"),
    "mmbench": ("accuracy under CircularEval, letters by rule", "no judge"),
    "mmvet": ("100 × mean grade by capability", "judge grade and its model (--judge-model)"),
    "mllmguard": ("ASD and PAR by dimension and overall", "judge guardrank=FILE for the paper's scale, else any judge"),
}
"""Name -> (what is scored, what it needs besides the data)."""


def _card(name: str) -> Card:
    words, judged = SCORED[name]
    source = sources.CARDS[name]
    return replace(source, words=f"{source.words}: {words}", needs=f"{source.needs}; {judged}")


CARDS: dict[str, Card] = {name: _card(name) for name in SCORED} | {
    "drawn": Card(
        "the drawn world by kind of picture, lists with empty items too: harmless rates and over-refusal",
        "this project's drawn world: a test of the machinery, no evidence about a method",
        needs="the folder that engine.tiny.heldout draws; judge world (code)",
    )
}
