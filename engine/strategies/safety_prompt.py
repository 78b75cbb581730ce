"""`safety_prompt`: MM-SafetyBench's baseline (arXiv 2311.17600), its sentence before the query in the user turn."""

from __future__ import annotations

from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy
from engine.types import Ask, Message, Outcome, Query, Strategy


def safety_prompt(options: StrategyOptions) -> Strategy:
    """A strategy that asks once, with the safety sentence and a newline before the query; `unchecked`."""

    async def run(query: Query, ask: Ask) -> Outcome:
        text = f"{prompts.load('safety_prompt')}\n{query.text}"
        completion = await ask("answer", [Message("user", text, query.pictures)], greedy(options))
        return Outcome(final_response=clean(completion.text), final_verdict="unchecked")

    return run
