"""`direct`: one answer, unchecked. The untouched model, and the baseline of every comparison."""

from __future__ import annotations

from engine.strategies.base import StrategyOptions, clean, greedy, question
from engine.types import Ask, Outcome, Query, Strategy


def direct(options: StrategyOptions) -> Strategy:
    """A strategy that asks once and keeps the answer, marked `unchecked`."""

    async def run(query: Query, ask: Ask) -> Outcome:
        completion = await ask("answer", question(query), greedy(options))
        response = clean(completion.text)
        return Outcome(final_response=response, final_verdict="unchecked", direct_response=response)

    return run
