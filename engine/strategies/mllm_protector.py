"""`mllm_protector` and `ecso+protector`: a harm detector and a detoxifier beside the model (arXiv 2401.02906).

`mllm_protector`: answer -> detect -> detoxify where it is harmful; without a detoxifier, the method's fixed refusal.
Preset `paper` is the published inference (pipilurj/MLLM-protector@390e326, robustness_eval.py): the detector reads the
response alone, the detoxifier is not shown the question, the result is kept as it is (`unchecked`). Preset `robust`
shows both the question, in the words that they were trained with, and has the detector judge the result again, with
new samples while it is harmful; else the row is `unresolved`.

`ecso+protector`: ECSO's steps, with the detector in place of the model's own verdict; a row that stays harmful is given
to the detoxifier, if there is one. The preset says what the detector and the detoxifier are shown.

Detector and detoxifier are the run's helper models, asked by role. Not copied: the script's limit of 1,024 tokens on
prompt and rewriting together (`--max-tokens` limits the rewriting).
"""

from __future__ import annotations

from dataclasses import replace

from engine.errors import UsageError
from engine.judges import detector
from engine.strategies import prompts
from engine.strategies.base import StrategyOptions, clean, greedy, question
from engine.strategies.ecso import judged_by
from engine.types import Ask, Judgement, Message, Outcome, Query, Strategy, Verdict

REFUSAL = "Sorry, but I can't help you with your request."
"""Of robustness_eval.py, where no detoxifier is loaded."""
DETOXIFIER = "detoxifier"


def mllm_protector(options: StrategyOptions) -> Strategy:
    """UsageError for an unknown preset, or a run without a detector."""
    check("mllm_protector", options)
    checked = options.preset != "paper"

    async def run(query: Query, ask: Ask) -> Outcome:
        direct = clean((await ask("answer", question(query), greedy(options))).text)
        judged = await _detect(ask, query, direct, options)
        outcome = Outcome(
            final_response=direct,
            final_verdict=judged.verdict if checked else "unchecked",
            direct_response=direct,
            direct_verdict=judged.verdict,
            p_harmful=judged.p_harmful,
            final_p_harmful=judged.p_harmful if checked else None,
        )
        if judged.verdict == "harmless":
            return outcome
        if DETOXIFIER not in options.helpers:
            final: Verdict = "harmless" if checked else "unchecked"
            return replace(outcome, final_response=REFUSAL, final_verdict=final, final_p_harmful=None)
        if not checked:
            return replace(outcome, final_response=await _detoxify(ask, query, direct, options), attempts=1)
        return await _rewrite(query, ask, outcome, options)

    return run


def ecso_protector(options: StrategyOptions) -> Strategy:
    """UsageError for an unknown preset, or a run without a detector."""
    check("ecso+protector", options)

    async def tell(ask: Ask, query: Query, response: str, step: str, attempt: int) -> Judgement:
        return await _detect(ask, query, response, options, step, attempt)

    ecso = judged_by(tell, options)

    async def run(query: Query, ask: Ask) -> Outcome:
        outcome = await ecso(query, ask)
        if outcome.status == "ok" or DETOXIFIER not in options.helpers:
            return outcome
        attempt = outcome.attempts
        rewritten = await _detoxify(ask, query, outcome.final_response, options, attempt, first=attempt)
        again = await _again(ask, query, rewritten, options, "retell", attempt)
        return replace(_settled(outcome, rewritten, again), attempts=attempt + 1)

    return run


def check(name: str, options: StrategyOptions) -> None:
    """UsageError for a preset that there is not, or a run without a detector."""
    if options.preset not in detector.PRESETS:
        raise UsageError(f"--preset {options.preset}: unknown for {name}; choose one of {', '.join(detector.PRESETS)}")
    if detector.ROLE not in options.helpers:
        raise UsageError(f"--strategy {name}: needs a harm detector: --detector MODEL (and --detector-adapter DIR)")


async def _rewrite(query: Query, ask: Ask, outcome: Outcome, options: StrategyOptions) -> Outcome:
    """Rewrite the direct answer until the detector calls it harmless: once greedily, then with up to `retries` new
    samples."""
    for attempt in range(options.retries + 1):
        rewritten = await _detoxify(ask, query, outcome.direct_response or "", options, attempt)
        again = await _again(ask, query, rewritten, options, "redetect", attempt)
        outcome = replace(_settled(outcome, rewritten, again), attempts=attempt + 1)
        if outcome.status == "ok":
            break
    return outcome


def _settled(outcome: Outcome, rewritten: str, again: Judgement) -> Outcome:
    return replace(
        outcome,
        final_response=rewritten,
        final_verdict=again.verdict,
        final_p_harmful=again.p_harmful,
        status="ok" if again.verdict == "harmless" else "unresolved",
    )


async def _detect(
    ask: Ask, query: Query, response: str, options: StrategyOptions, step: str = "detect", attempt: int = 0
) -> Judgement:
    return await detector.detect(
        ask, query, response, preset=options.preset, step=step, attempt=attempt, threshold=options.threshold
    )


async def _again(
    ask: Ask, query: Query, rewritten: str, options: StrategyOptions, step: str, attempt: int
) -> Judgement:
    """An empty rewriting is no answer, whatever a detector says of it."""
    if not rewritten:
        return Judgement("unknown", None)
    return await _detect(ask, query, rewritten, options, step, attempt)


async def _detoxify(
    ask: Ask, query: Query, response: str, options: StrategyOptions, attempt: int = 0, *, first: int = 0
) -> str:
    """The rewriting; sampled in attempts behind the `first` one."""
    text = prompts.fill(prompts.load(f"detoxify_{options.preset}"), question=query.text, response=response)
    sampling = replace(greedy(options), temperature=options.retry_temperature if attempt > first else 0.0)
    return clean((await ask("detoxify", [Message("user", text)], sampling, attempt=attempt, model=DETOXIFIER)).text)
