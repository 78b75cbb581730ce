"""What one judge says of one answer."""

from __future__ import annotations

from dataclasses import dataclass


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
