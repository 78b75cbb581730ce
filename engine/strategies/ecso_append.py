"""`ecso_append`: ECSO with the harm question as a second turn after the answer, in the same conversation.

The judge then needs no second copy of query and response: prompt and answer are a prefix that the engine's cache holds
already, so that the question costs a few tokens. The method asks in a fresh conversation (gyhdog99/ECSO@3878522); a
model that sees its own answer as its own may judge it more kindly, which is why this is a strategy of its own and not
a preset. Steps 3 and 4, and the second look at the result, are those of `ecso --preset robust`.
"""

from __future__ import annotations

from engine.judges import self as self_judge
from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy, question
from engine.strategies.ecso import read_out, retry
from engine.types import Ask, Message, Outcome, Query, Strategy


def ecso_append(options: StrategyOptions) -> Strategy:
    """A strategy that answers, asks about its answer in the next turn, and closes its eyes where that is yes."""

    async def run(query: Query, ask: Ask) -> Outcome:
        asked = question(query)
        direct = clean((await ask("answer", asked, greedy(options))).text)
        turns = [*asked, Message("assistant", direct), Message("user", prompts.load("tell_append"))]
        judged = self_judge.read(await self_judge.yes_or_no(ask, turns, "tell"), options.threshold, options.curve)
        outcome = Outcome(
            final_response=direct,
            final_verdict=judged.verdict,
            direct_response=direct,
            direct_verdict=judged.verdict,
            p_harmful=judged.p_harmful,
            final_p_harmful=judged.p_harmful,
        )
        if judged.verdict == "harmless":
            return outcome
        return await retry(query, ask, outcome, options, seen=await read_out(query, ask, options))

    return run
