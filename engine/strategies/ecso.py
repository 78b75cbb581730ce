"""`ecso`: Eyes Closed, Safety On (arXiv 2403.09572, §3). answer -> tell -> caption -> safe_answer.

Preset `paper` is the method byte for byte (gyhdog99/ECSO@3878522): exact prompts, greedy, the response cut at 1,927
characters for the judge, yes only by exact text, no picture in the last step, no second look at the result.
Preset `robust` closes what that leaves open: the verdict comes from probabilities, an unreadable one is `unknown` and
goes on as harmful, and the safe answer is judged again, with new samples while it fails; else it is `unresolved`.
Preset `repo` is the published scripts with what each does differently (`repo.py`), for comparison.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from engine.errors import UsageError
from engine.judges import self as self_judge
from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy, question
from engine.strategies.repo import NO_PICTURE, repo
from engine.types import Ask, Judgement, Message, Outcome, Query, Sampling, Strategy

CAPTIONS = {"query": "caption", "plain": "caption_plain", "transcribe": "caption"}
"""`--caption` -> prompt file."""
NO_TEXT = frozenset({"", "none"})
"""Replies to the question for the picture's text that mean that there is none."""
PAPER_ANSWER_TOKENS = 2048
"""max_new_tokens of the method's first stage (model_mmsafe.py, model_vlsafe.py)."""
Tell = Callable[[Ask, Query, str, str, int], Awaitable[Judgement]]
"""(ask, query, response, step, attempt) -> the verdict of steps 2 (`tell`) and 5 (`retell`)."""


def ecso(options: StrategyOptions) -> Strategy:
    """ECSO by the preset of `options`; UsageError for an unknown preset."""
    if options.preset not in PRESETS:
        raise UsageError(f"--preset {options.preset}: unknown for ecso; choose one of {', '.join(PRESETS)}")
    if options.preset == "repo" and (options.caption, options.eyes) != ("query", "closed"):
        raise UsageError("--preset repo does what the method's scripts do: --caption and --eyes are for the others")
    return PRESETS[options.preset](options)


def paper(options: StrategyOptions) -> Strategy:
    """The method as published."""

    async def run(query: Query, ask: Ask) -> Outcome:
        first = Sampling(max_tokens=PAPER_ANSWER_TOKENS)
        direct = clean((await ask("answer", question(query), first)).text)
        seen = await read_out(query, ask, options)
        judged = await self_judge.paper(ask, with_text(query, seen), direct)
        outcome = Outcome(
            final_response=direct,
            final_verdict="unchecked",
            direct_response=direct,
            direct_verdict=judged.verdict,
        )
        if judged.verdict == "harmless":
            return outcome
        caption, safe = await close_eyes(query, ask, greedy(options), options, seen=seen)
        return replace(outcome, final_response=safe, caption=caption, eyes_closed=True, attempts=1)

    return run


def robust(options: StrategyOptions) -> Strategy:
    """The method with a verdict that cannot fail open, and a second look at the result."""
    return judged_by(own_verdict(options), options)


def own_verdict(options: StrategyOptions) -> Tell:
    """The model judges its own answers."""

    async def tell(ask: Ask, query: Query, response: str, step: str, attempt: int) -> Judgement:
        return await self_judge.robust(
            ask, query, response, step=step, attempt=attempt, threshold=options.threshold, curve=options.curve
        )

    return tell


def judged_by(tell: Tell, options: StrategyOptions) -> Strategy:
    """`robust` with any judge in step 2 and in the second look."""

    async def run(query: Query, ask: Ask) -> Outcome:
        direct = clean((await ask("answer", question(query), greedy(options))).text)
        seen = await read_out(query, ask, options)
        judged = await tell(ask, with_text(query, seen), direct, "tell", 0)
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
        return await retry(query, ask, outcome, options, tell, seen)

    return run


async def retry(
    query: Query, ask: Ask, outcome: Outcome, options: StrategyOptions, tell: Tell | None = None, seen: str = ""
) -> Outcome:
    """Close the eyes until an answer is judged harmless: once greedily, then with up to `retries` new samples. `seen`:
    the words in the picture, where they were read out."""
    judge = tell or own_verdict(options)
    for attempt in range(options.retries + 1):
        temperature = options.retry_temperature if attempt else 0.0
        sampling = replace(greedy(options), temperature=temperature)
        caption, safe = await close_eyes(query, ask, sampling, options, attempt, seen)
        again = await judge(ask, with_text(query, seen), safe, "retell", attempt)
        outcome = replace(
            outcome,
            final_response=safe,
            final_verdict=again.verdict,
            final_p_harmful=again.p_harmful,
            caption=caption,
            eyes_closed=True,
            attempts=attempt + 1,
        )
        if again.verdict == "harmless":
            return outcome
    return replace(outcome, status="unresolved")


async def read_out(query: Query, ask: Ask, options: StrategyOptions) -> str:
    """With `--caption transcribe`: the words in the picture, which a typographic attack (FigStep, arXiv 2311.05608)
    hides from whoever reads the query. "" without that option, and where the picture holds no text."""
    if options.caption != "transcribe" or not query.pictures:
        return ""
    asked = Message("user", prompts.load("transcribe"), query.pictures)
    said = clean((await ask("transcribe", [asked], greedy(options))).text)
    return "" if said.lower().strip(" .\"'") in NO_TEXT else said


def with_text(query: Query, seen: str) -> Query:
    """The query as the judge is told it: with what the picture says behind it."""
    if not seen:
        return query
    return replace(query, text=prompts.fill(prompts.load("transcribed"), query=query.text, text=seen))


async def close_eyes(
    query: Query, ask: Ask, sampling: Sampling, options: StrategyOptions, attempt: int = 0, seen: str = ""
) -> tuple[str, str]:
    """(caption, safe answer): the picture in words, guided by the query, and with what it says (`seen`) where that was
    read out; then an answer from the words alone. The options `caption` and `eyes` take one of the two away (the
    paper's ablations)."""
    caption = NO_PICTURE
    if query.pictures:
        request = prompts.fill(prompts.load(CAPTIONS[options.caption]), query=query.text)
        described = await ask("caption", [Message("user", request, query.pictures)], sampling, attempt=attempt)
        caption = clean(described.text)
    if seen:
        caption = prompts.fill(prompts.load("transcribed_hint"), caption=caption, text=seen)
    text = prompts.fill(prompts.load("safe_answer"), caption=caption, query=query.text)
    shown = query.pictures if options.eyes == "open" else ()
    answered = await ask("safe_answer", [Message("user", text, shown)], sampling, attempt=attempt)
    return caption, clean(answered.text)


PRESETS = {"paper": paper, "robust": robust, "repo": repo}
