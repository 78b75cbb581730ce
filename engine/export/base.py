"""What every exporter sees: one dialogue, and text that cannot be mistaken for a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from engine.backends.wire import JOINER, neutralise

TRAINERS_OWN = re.compile(
    r"<(?:bbox|ref-object|cot-process|start-image|im_patch|im_start|im_end|img_context)>"
    r"|\{\{(?:image|video|audio|content|idx|SYSTEM|QUERY|ROUND0|ROUND1)\}\}",
    re.IGNORECASE,
)
"""Strings that a trainer's loader gives a meaning, beyond models' special tokens: ms-swift's tags and slots, LLaVA's
markers, LLaMA-Factory's `{{image}}` (its LLaVA plug-in turns that into an image token after it has counted)."""


class Turn(NamedTuple):
    """One turn: `user` or `assistant`, and its text."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One training row: encoded pictures (shown before the first question), then turns, user first, assistant last.

    `rejected`: in a preference row the other answer to the last question. `query_ids`: rows of the curated set that it
    holds (none for third-party rows).
    """

    id: str
    source: str
    images: tuple[bytes, ...]
    turns: tuple[Turn, ...]
    rejected: str | None = None
    query_ids: tuple[str, ...] = ()
    category: str | None = None
    subcategory: str | None = None
    label_safe: bool | None = None
    contains_harmful: bool = False
    kind: str | None = None
    margin: float | None = None

    def safe_text(self) -> Dialogue:
        """The same dialogue with `neutral` texts."""
        turns = tuple(Turn(turn.role, neutral(turn.text)) for turn in self.turns)
        return replace(self, turns=turns, rejected=None if self.rejected is None else neutral(self.rejected))


def neutral(text: str) -> str:
    """The text with every special-token string and trainer's tag broken by a zero-width joiner behind its first
    character: still readable, and no loader counts a picture that is not there or ends a turn early."""
    return TRAINERS_OWN.sub(lambda match: match.group()[0] + JOINER + match.group()[1:], neutralise(text)[0])
