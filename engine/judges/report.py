"""What one judge did to one run: what `annotate` prints, and what evaluation reads the key from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from dataclasses import field as value

from engine.judges.files import Key


@dataclass
class Report:
    """What one judge did. `eligible` rows had something to judge; `failed` ones have no annotation and are asked again
    by the next call; `verdicts` counts those judged now (`unknown`: the reply could not be read)."""

    judge: str
    version: str
    field: str
    eligible: int = 0
    before: int = 0
    judged: int = 0
    failed: int = 0
    others: int = 0
    verdicts: Counter[str] = value(default_factory=Counter)
    files: list[str] = value(default_factory=list)
    key: Key | None = None
    """Names the annotations of this judge, as it was when it judged."""
