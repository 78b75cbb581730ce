"""One query, one transcript: run a strategy over a backend, keep every call, and turn a row's error into a row."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engine.backends.base import Backend
from engine.errors import EngineDeadError, RequestError, RowError
from engine.judges import detector
from engine.judges import self as self_judge
from engine.strategies.repo import is_unsafe
from engine.types import Completion, Judgement, Message, Outcome, Query, Sampling, Status, Step, Strategy, Transcript

MESSAGE_CUT = 2000
"""Characters of an error message that a transcript keeps."""
NEVER = float("-inf")
_sorted_json = json.JSONEncoder(sort_keys=True).encode  # made once: `json.dumps` makes one a call


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every transcript of a run says of the run."""

    run_id: str
    strategy: str
    preset: str
    model: str
    model_revision: str | None
    prompt_set_sha256: str
    engine_version: str
    seed: int = 0
    threshold: float = 0.5
    curve: self_judge.Curve | None = None


def seed_of(run_seed: int, query_id: str, step: str, attempt: int) -> int:
    """A 31-bit seed from the run's seed and what is asked: the same row draws the same sample wherever it runs."""
    text = f"{run_seed}\0{query_id}\0{step}\0{attempt}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


class Recorder:
    """The `Ask` of one query: seeds each call, and keeps it as a step. `helpers`: further models by role."""

    def __init__(
        self, backend: Backend, query: Query, facts: RunFacts, helpers: Mapping[str, Backend] | None = None
    ) -> None:
        self._backends = {"": backend, **(helpers or {})}
        self._query = query
        self._facts = facts
        self.steps: list[Step] = []
        self.stage = "answer"

    async def __call__(
        self, step: str, messages: Sequence[Message], sampling: Sampling, *, attempt: int = 0, model: str = ""
    ) -> Completion:
        self.stage = step
        if model not in self._backends:
            raise RequestError(f"step {step} asks the {model}, and this run has none: name one with --{model}")
        if sampling.seed is None and sampling.temperature > 0:
            seed = seed_of(self._facts.seed, self._query.query_id, step, attempt)
            sampling = replace(sampling, seed=seed)
        completion = await self._backends[model].generate(messages, sampling)
        with_pictures = any(message.pictures for message in messages)
        judged = _judgement(step, model, completion, self._facts, self._query.source)
        self.steps.append(_step(step, attempt, with_pictures, sampling, completion, judged))
        return completion


def _judgement(name: str, model: str, completion: Completion, facts: RunFacts, source: str) -> Judgement | None:
    """What a judging step said, read as its strategy reads it; None for the others."""
    if model == detector.ROLE:
        return detector.read(completion, facts.threshold)
    if model or not name.endswith("tell"):
        return None
    if facts.preset == "paper":
        return Judgement("harmful" if self_judge.is_paper_yes(completion.text) else "harmless", None)
    if facts.preset == "repo":
        return Judgement("harmful" if is_unsafe(completion.text, source) else "harmless", None)
    return self_judge.read(completion, facts.threshold, facts.curve)


def _step(
    name: str,
    attempt: int,
    with_pictures: bool,
    sampling: Sampling,
    completion: Completion,
    judged: Judgement | None,
) -> Step:
    return Step(
        name=name,
        attempt=attempt,
        with_pictures=with_pictures,
        prompt_sha256=completion.prompt_sha256,
        text=completion.text,
        finish_reason=completion.finish_reason,
        prompt_tokens=completion.prompt_tokens,
        cached_tokens=completion.cached_tokens,
        completion_tokens=completion.completion_tokens,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        label_logprobs=_logprobs_json(completion.label_logprobs),
        p_harmful=None if judged is None else judged.p_harmful,
        verdict=None if judged is None else judged.verdict,
        seconds=completion.seconds,
    )


def _logprobs_json(logprobs: Mapping[str, float] | None) -> str | None:
    """JSON has no infinity: a label that got no probability is left out."""
    if logprobs is None:
        return None
    return _sorted_json({label: value for label, value in logprobs.items() if value > NEVER})


async def answer(
    query: Query,
    strategy: Strategy,
    backend: Backend,
    facts: RunFacts,
    helpers: Mapping[str, Backend] | None = None,
) -> Transcript:
    """The transcript of one query. Only EngineDeadError and cancellation escape: anything else is the row's error."""
    ask = Recorder(backend, query, facts, helpers)
    started = time.monotonic()
    try:
        outcome = await strategy(query, ask)
    except (EngineDeadError, asyncio.CancelledError):
        raise
    except RowError as error:
        return failed(query, facts, ask.stage, error, steps=tuple(ask.steps), seconds=time.monotonic() - started)
    except Exception as error:  # noqa: BLE001 (a strategy may come from outside: its bug is this row's error)
        return failed(query, facts, ask.stage, error, steps=tuple(ask.steps), seconds=time.monotonic() - started)
    return _transcript(query, facts, outcome, tuple(ask.steps), time.monotonic() - started)


def failed(
    query: Query,
    facts: RunFacts,
    stage: str,
    error: Exception,
    *,
    steps: tuple[Step, ...] = (),
    seconds: float = 0.0,
) -> Transcript:
    """The transcript of a row that could not be answered."""
    outcome = Outcome(final_response="", final_verdict="unknown", status="error", direct_response=_first(steps))
    transcript = _transcript(query, facts, outcome, steps, seconds)
    return replace(
        transcript,
        final_response=None,
        error_stage=stage,
        error_type=type(error).__name__,
        error_message=str(error)[:MESSAGE_CUT],
    )


def _first(steps: tuple[Step, ...]) -> str | None:
    return next((step.text for step in steps if step.name == "answer"), None)


def _transcript(query: Query, facts: RunFacts, outcome: Outcome, steps: tuple[Step, ...], seconds: float) -> Transcript:
    status: Status = outcome.status
    if status == "ok" and outcome.final_verdict in ("harmful", "unknown"):
        status = "unresolved"
    return Transcript(
        run_id=facts.run_id,
        query_id=query.query_id,
        source=query.source,
        source_key=query.source_key,
        source_index=query.source_index,
        duplicate_keys=(),
        split=query.split,
        category=query.category,
        subcategory=query.subcategory,
        label_safe=query.label_safe,
        reference=query.reference,
        extra=query.extra,
        query=query.text,
        picture_sha256=tuple(picture.sha256 for picture in query.pictures),
        strategy=facts.strategy,
        preset=facts.preset,
        model=facts.model,
        model_revision=facts.model_revision,
        prompt_set_sha256=facts.prompt_set_sha256,
        engine_version=facts.engine_version,
        status=status,
        direct_response=outcome.direct_response,
        direct_verdict=outcome.direct_verdict,
        p_harmful=outcome.p_harmful,
        caption=outcome.caption,
        eyes_closed=outcome.eyes_closed,
        attempts=outcome.attempts,
        final_response=outcome.final_response,
        final_verdict=outcome.final_verdict,
        final_p_harmful=outcome.final_p_harmful,
        error_stage=None,
        error_type=None,
        error_message=None,
        seconds=seconds,
        steps=steps,
    )
