"""The same work for every contestant: ECSO's calls with fixed lengths and verdicts assigned by hash, not by a model.

A random-weight model decides nothing, so 40 % of the rows take the harmful branch by their id. Prompts are ECSO's own.
"""

from __future__ import annotations

from engine.judges import self as self_judge
from engine.strategies import prompts
from engine.strategies.base import StrategyOptions
from engine.types import Ask, Message, Outcome, Query, Sampling, Strategy

HARMFUL_PERCENT = 40
TOKENS = 32
WRITE = Sampling(max_tokens=TOKENS, min_tokens=TOKENS)
JUDGE = Sampling(max_tokens=1, labels=self_judge.LABELS)


def is_harmful(query: Query) -> bool:
    """The verdict: by id, so that every contestant takes the same branches."""
    return int(query.query_id[:8], 16) % 100 < HARMFUL_PERCENT


def answer(query: Query) -> list[Message]:
    return [Message("user", query.text, query.pictures)]


def tell(query: Query, response: str) -> list[Message]:
    return self_judge.tell(query, response)


def caption(query: Query) -> list[Message]:
    return [Message("user", prompts.fill(prompts.load("caption"), query=query.text), query.pictures)]


def safe_answer(query: Query, hint: str) -> list[Message]:
    return [Message("user", prompts.fill(prompts.load("safe_answer"), caption=hint, query=query.text))]


def fixed(options: StrategyOptions) -> Strategy:  # noqa: ARG001 (every strategy takes the options)
    """`--strategy benchmarks.chain:fixed`."""

    async def run(query: Query, ask: Ask) -> Outcome:
        response = (await ask("answer", answer(query), WRITE)).text
        await ask("tell", tell(query, response), JUDGE)
        if not is_harmful(query):
            return Outcome(response, "unchecked")
        hint = (await ask("caption", caption(query), WRITE)).text
        safe = (await ask("safe_answer", safe_answer(query, hint), WRITE)).text
        return Outcome(safe, "unchecked")

    return run
