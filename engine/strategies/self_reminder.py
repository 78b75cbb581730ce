"""`self_reminder`: the query between two reminders to answer responsibly (self-reminders against jailbreaks, Xie et
al. 2023, Nature Machine Intelligence). The wording is this project's own; the method is the sandwich.
"""

from __future__ import annotations

from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy
from engine.types import Ask, Message, Outcome, Query, Strategy


def self_reminder(options: StrategyOptions) -> Strategy:
    """A strategy that asks once, with the query in the sandwich; `unchecked`."""

    async def run(query: Query, ask: Ask) -> Outcome:
        text = prompts.fill(prompts.load("self_reminder"), query=query.text)
        completion = await ask("answer", [Message("user", text, query.pictures)], greedy(options))
        return Outcome(final_response=clean(completion.text), final_verdict="unchecked")

    return run
