"""`adashield_static`: AdaShield's static shield (arXiv 2403.09513): look at the picture closely, then at the text, and
answer only if both together are harmless. The wording is this project's own. The adaptive variant, which searches for
shields with a second model, is not covered.
"""

from __future__ import annotations

from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy
from engine.types import Ask, Message, Outcome, Query, Strategy


def adashield_static(options: StrategyOptions) -> Strategy:
    """A strategy that asks once, with the shield before the query; `unchecked`."""

    async def run(query: Query, ask: Ask) -> Outcome:
        text = prompts.fill(prompts.load("adashield_static"), query=query.text)
        completion = await ask("answer", [Message("user", text, query.pictures)], greedy(options))
        return Outcome(final_response=clean(completion.text), final_verdict="unchecked")

    return run
