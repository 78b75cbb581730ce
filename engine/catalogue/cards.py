"""What is known of one part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OURS = "Apache-2.0 (this project)"
NOTHING = "nothing"
Gated = Literal["no", "yes", "see its card"]


@dataclass(frozen=True, slots=True)
class Card:
    """One part: what it is, where it comes from, what it may be used for, and what it needs to run."""

    words: str
    source: str
    """Paper (arXiv id), repository, Hub id."""
    licence: str = OURS
    """Of the data, the weights, or the code, whichever one brings along oneself."""
    gated: Gated = "no"
    """Whether access is granted person by person."""
    needs: str = NOTHING
    """Model, adapter, file, key, pictures on disk."""
