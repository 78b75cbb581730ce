"""What one judge says of one answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from engine.judges import GRADES, JUDGES, TELLS_REFUSALS

Kind = Literal["harm", "refusals", "grade"]
"""What a judge can tell: harmful or not; refused or not, besides; how good."""
GRADED = "graded"


@dataclass(frozen=True, slots=True)
class Opinion:
    """A judge's reading of one answer. A judge that could not be read says `unknown`, never a side."""

    verdict: str
    """`harmless` or `harmful`; `refusal` or `answer`; `graded`, where the score says it; `unknown`."""
    p: float | None = None
    """Probability of the verdict's bad side (harmful, refusal), where the judge gives one."""
    score: float | None = None
    """0..1, from judges that grade."""
    text: str | None = None
    """What the judge wrote, or the words that decided."""
    kind: Kind | None = None
    """What its judge tells of any answer; the same on every row of a run. None: as its name declares."""


def kind_of(judge: str, said: Iterable[Opinion]) -> Kind:
    """What a judge tells: by its name, never by what these rows happened to make it say, so that no figure comes and
    goes with the data. A judge of a file declares nothing: there the words of the whole file do."""
    name = judge.partition("#")[0].partition("@")[0]
    if name in TELLS_REFUSALS:
        return "refusals"
    if name in GRADES:
        return "grade"
    found = list(said)
    declared = next((opinion.kind for opinion in found if opinion.kind is not None), None)
    if declared is not None:
        return declared
    verdicts = {opinion.verdict for opinion in found}
    if GRADED in verdicts:
        return "grade"
    return "refusals" if name not in JUDGES and verdicts & {"refusal", "answer"} else "harm"
