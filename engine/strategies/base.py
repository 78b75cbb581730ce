"""What strategies share: their options, and the direct question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.types import Message, Query, Sampling

ANSWER_TOKENS = 1024
"""ECSO's max_new_tokens for every step (facts of gyhdog99/ECSO@3878522, tell/cap/gen scripts)."""


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Everything that changes what a strategy asks; part of the fingerprint."""

    preset: str = "robust"
    retries: int = 2
    caption: str = "query"
    """Guided by the query (as published), or `plain`: an ablation of ECSO."""
    eyes: str = "closed"
    """ECSO's last step without the picture (as published), or `open`: the ablation that shows why."""
    threshold: float = 0.5
    curve: Callable[[float], float] | None = None
    """Calibration of p(harmful), applied before the threshold (engine.calibration)."""
    max_tokens: int = ANSWER_TOKENS
    retry_temperature: float = 0.7
    """A new caption or answer only differs from the failed one if it is sampled."""
    helpers: tuple[str, ...] = ()
    """Roles of the models that the run has beside the one that answers (`ask(…, model=ROLE)`)."""
    eta_pre: float = 0.16
    eta_post: float = 0.06
    """ETA's thresholds as published (arXiv 2410.06625): likeness of picture and warning, and reward of the answer."""


def question(query: Query) -> list[Message]:
    """The query as its user wrote it, with its pictures, in a fresh conversation."""
    return [Message("user", query.text, query.pictures)]


def greedy(options: StrategyOptions) -> Sampling:
    return Sampling(max_tokens=options.max_tokens)


def clean(text: str) -> str:
    """ECSO's output clean-up: strip, drop one trailing `</s>`, strip."""
    return text.strip().removesuffix("</s>").strip()
