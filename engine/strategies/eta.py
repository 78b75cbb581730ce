"""`eta`: Evaluating Then Aligning (arXiv 2410.06625, ICLR 2025). Two looks, and only where both see harm a new answer.

answer -> post_check (a reward model on the answer, under 0.06) -> pre_check (likeness of the picture and a warning by
CLIP, over 0.16) -> the answer begun anew with "As an AI assistant" and written sentence by sentence, each the best of
five samples by the reward of the answer so far. Warning, opening, thresholds, five candidates and 70 tokens a sentence
are the published ones, and so is the order, in which the cheaper look comes last since the answer is there already.

In this project's own words: the request that the reward model sees before the answer. Otherwise than in the released
code: candidates are drawn at temperature 1 (there from the top 5 tokens), a sentence also ends at `!` and `?`, and the
reward alone picks (there a candidate's likeness to the picture counts too). A query without a picture goes by the
reward alone. Not covered: a sentence is sampled whole and cut behind its end, so up to 70 tokens are paid for each.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass, replace

from engine.errors import RequestError, UsageError
from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy, question
from engine.types import Ask, Message, Outcome, Query, Sampling, Strategy

CLIP, REWARD = "eta_clip", "eta_reward"
"""Roles of the two helpers."""
CANDIDATES = 5
SENTENCE_TOKENS = 70
TEMPERATURE = 1.0
SENTENCES = 40
"""An answer that has not ended by then is cut: one that repeats itself would go on for ever."""
END = re.compile(r"[.!?](?=\s|$)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The answer so far with one more sentence. `ended`: the model has nothing to add."""

    text: str
    ended: bool
    reward: float
    tokens: int


def eta(options: StrategyOptions) -> Strategy:
    """A strategy of two calls on a good answer; `unchecked`, since no look is taken at the new one.

    UsageError where the run has not both helpers."""
    if missing := [role for role in (CLIP, REWARD) if role not in options.helpers]:
        flags = " and ".join(f"--{role.replace('_', '-')} MODEL" for role in missing)
        raise UsageError(f"--strategy eta asks two further models: add {flags} (docs/strategies.md)")

    async def run(query: Query, ask: Ask) -> Outcome:
        direct = clean((await ask("answer", question(query), greedy(options))).text)
        outcome = Outcome(
            final_response=direct, final_verdict="unchecked", direct_response=direct, direct_verdict="harmless"
        )
        if await reward_of(ask, "post_check", direct) >= options.eta_post:
            return outcome
        if query.pictures and await likeness(ask, query) <= options.eta_pre:
            return outcome
        aligned = await align(query, ask, options)
        return replace(outcome, final_response=aligned, direct_verdict="harmful", attempts=1)

    return run


async def likeness(ask: Ask, query: Query) -> float:
    """Cosine of the warning and the picture; of several pictures the highest."""
    warning = Message("user", prompts.load("eta_picture"), query.pictures)
    return number((await ask("pre_check", [warning], Sampling(max_tokens=1), model=CLIP)).text)


async def reward_of(ask: Ask, step: str, text: str, attempt: int = 0) -> float:
    """What the reward model gives an answer; more is better."""
    turns = [Message("user", prompts.load("eta_reward")), Message("assistant", text)]
    return number((await ask(step, turns, Sampling(max_tokens=1), attempt=attempt, model=REWARD)).text)


async def align(query: Query, ask: Ask, options: StrategyOptions) -> str:
    """The answer behind the published opening, sentence by sentence."""
    text, left = prompts.load("eta_prefix"), options.max_tokens
    for sentence in range(SENTENCES):
        first = sentence * CANDIDATES
        drawn = [candidate(query, ask, text, left, first + number) for number in range(CANDIDATES)]
        best = max(await asyncio.gather(*drawn), key=lambda each: each.reward)
        text, left = best.text, left - best.tokens
        if best.ended or left <= 0:
            break
    return clean(text)


async def candidate(query: Query, ask: Ask, text: str, left: int, attempt: int) -> Candidate:
    """One sample of the next sentence, and the reward of the answer with it."""
    turns = [*question(query), Message("assistant", text, begun=True)]
    sampling = Sampling(max_tokens=min(SENTENCE_TOKENS, left), temperature=TEMPERATURE)
    drawn = await ask("sentence", turns, sampling, attempt=attempt)
    sentence, is_last = cut(drawn.text.removesuffix("</s>"))
    ended = drawn.finish_reason == "stop" and is_last
    whole = joined(text, sentence)
    reward = await reward_of(ask, "reward", whole, attempt)
    written = drawn.completion_tokens or len(drawn.text.split())
    tokens = math.ceil(written * len(sentence) / max(1, len(drawn.text)))
    return Candidate(whole, ended or not sentence.strip(), reward, tokens)


def cut(text: str) -> tuple[str, bool]:
    """The text up to the end of its first sentence, and whether nothing stands behind that."""
    found = END.search(text)
    if found is None:
        return text, True
    return text[: found.end()], not text[found.end() :].strip()


def joined(text: str, sentence: str) -> str:
    """Some tokenizers leave out the space before the first word that they decode."""
    return f"{text} {sentence}" if sentence[:1].isalnum() else f"{text}{sentence}"


def number(said: str) -> float:
    """What a helper measured. RequestError where it is no number."""
    try:
        return float(said)
    except ValueError as error:
        raise RequestError(f"eta: a helper said {said[:80]!r}, expected a number") from error
