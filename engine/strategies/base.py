"""What strategies share: their options, and the direct question."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import Message, Query, Sampling

ANSWER_TOKENS = 1024
"""ECSO's max_new_tokens for every step (facts of gyhdog99/ECSO@3878522, tell/cap/gen scripts)."""


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Everything that changes what a strategy asks; part of the fingerprint."""

    preset: str = "robust"
    retries: int = 2
    threshold: float = 0.5
    max_tokens: int = ANSWER_TOKENS
    retry_temperature: float = 0.7
    """A new caption or answer only differs from the failed one if it is sampled."""


def question(query: Query) -> list[Message]:
    """The query as its user wrote it, with its pictures, in a fresh conversation."""
    return [Message("user", query.text, query.pictures)]


def greedy(options: StrategyOptions) -> Sampling:
    return Sampling(max_tokens=options.max_tokens)


def clean(text: str) -> str:
    """ECSO's output clean-up: strip, drop one trailing `</s>`, strip."""
    return text.strip().removesuffix("</s>").strip()
