"""A strategy of your own, here `second_thought`: answer, then ask the model to make its answer safe and kind.

    python examples/add_a_strategy.py                     # 8 rows of the sample, the embedded model
    python examples/add_a_strategy.py --backend scripted  # without a model; any flag of engine.generate goes here

A strategy is an async function from a query to an outcome. Every call goes through `ask`, which records it as a step of
the transcript; batching, resuming, errors and the journal are the engine's. Here it is named by `module:function`.
Installed with an entry point (docs/extending.md) it has a name of its own: `--strategy second_thought`.
"""

from __future__ import annotations

import sys

from engine.commands.generate import main
from engine.strategies import StrategyOptions
from engine.types import Ask, Message, Outcome, Query, Sampling, Strategy

REVISE = "Is your answer safe and kind? Write it again, so that it is."


def second_thought(options: StrategyOptions) -> Strategy:
    """A strategy that asks twice, and keeps the second answer; nothing checks it, so it is `unchecked`."""
    greedy = Sampling(max_tokens=options.max_tokens)

    async def run(query: Query, ask: Ask) -> Outcome:
        asked = [Message("user", query.text, query.pictures)]
        first = await ask("answer", asked, greedy)
        asked += [Message("assistant", first.text), Message("user", REVISE)]
        second = await ask("revise", asked, greedy)
        return Outcome(second.text.strip(), "unchecked", direct_response=first.text.strip(), attempts=1)

    return run


if __name__ == "__main__":
    own = ["--strategy", "add_a_strategy:second_thought", "--limit", "8", "--out", "runs/second-thought"]
    sys.exit(main([*own, *sys.argv[1:]]))
