"""Strategies by name: query -> outcome, by any number of calls. Adding one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine import registry
from engine.strategies import prompts
from engine.strategies.adashield_static import adashield_static
from engine.strategies.base import StrategyOptions
from engine.strategies.caption_always import caption_always
from engine.strategies.direct import direct
from engine.strategies.ecso import CAPTIONS, ecso
from engine.strategies.ecso_append import ecso_append
from engine.strategies.ecso_transcribe import ecso_transcribe
from engine.strategies.eta import eta
from engine.strategies.mllm_protector import ecso_protector, mllm_protector
from engine.strategies.reference import reference
from engine.strategies.safety_prompt import safety_prompt
from engine.strategies.self_reminder import self_reminder
from engine.types import Strategy

STRATEGIES: Mapping[str, Callable[[StrategyOptions], Strategy]] = {
    "direct": direct,
    "safety_prompt": safety_prompt,
    "reference": reference,
    "ecso": ecso,
    "ecso_append": ecso_append,
    "ecso_transcribe": ecso_transcribe,
    "caption_always": caption_always,
    "self_reminder": self_reminder,
    "adashield_static": adashield_static,
    "mllm_protector": mllm_protector,
    "ecso+protector": ecso_protector,
    "eta": eta,
}

PROTECTOR = ("detector_paper", "detector_robust", "detoxify_paper", "detoxify_robust")
PROMPTS: Mapping[str, tuple[str, ...]] = {
    "direct": (),
    "safety_prompt": ("safety_prompt",),
    "reference": (),
    "ecso": ("tell", "caption", "safe_answer"),
    "ecso_append": ("tell_append", "tell", "caption", "safe_answer"),
    "ecso_transcribe": ("transcribe", "transcribed", "transcribed_hint", "tell", "caption", "safe_answer"),
    "caption_always": ("caption", "safe_answer"),
    "self_reminder": ("self_reminder",),
    "adashield_static": ("adashield_static",),
    "mllm_protector": PROTECTOR,
    "ecso+protector": ("caption", "safe_answer", *PROTECTOR),
    "eta": ("eta_picture", "eta_reward", "eta_prefix"),
}
"""The prompt files of each strategy: their digest is part of the fingerprint."""
WITH_PRESET = frozenset({"ecso", "mllm_protector", "ecso+protector"})
"""Strategies that `--preset` changes."""
HELPERS: Mapping[str, tuple[str, ...]] = {
    "mllm_protector": ("detector", "detoxifier"),
    "ecso+protector": ("detector", "detoxifier"),
    "eta": ("eta_clip", "eta_reward"),
}
"""Roles of the helper models that a strategy asks. One from elsewhere may ask any."""

__all__ = ["HELPERS", "PROMPTS", "STRATEGIES", "WITH_PRESET", "StrategyOptions", "create", "helpers_of", "prompt_set"]


def helpers_of(name: str) -> tuple[str, ...]:
    """The roles that the strategy may ask."""
    anything = ("detector", "detoxifier", "eta_clip", "eta_reward")
    return HELPERS.get(name, () if name in STRATEGIES else anything)


def prompt_set(name: str, caption: str = "query") -> str:
    """sha256 over the prompts that the strategy uses (`caption`: which of ECSO's captions); for one from outside over
    its code, which holds its prompts."""
    part = registry.part_of("strategies", name, STRATEGIES)
    if part is not None:
        return part.code_sha256()
    names = {CAPTIONS[caption] if prompt == "caption" else prompt for prompt in PROMPTS.get(name, ())}
    if caption == "transcribe" and "caption" in names:
        names |= {"transcribe", "transcribed", "transcribed_hint"}
    return prompts.digest(names)


def create(name: str, options: StrategyOptions) -> Strategy:
    """The strategy of that name, built in or from outside, or of `module:function` anywhere on the path; UsageError for
    an unknown one."""
    made: Strategy = registry.find("strategies", name, STRATEGIES).make(options)
    return made
