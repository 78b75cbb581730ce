"""Helper models of a strategy behind the seam of backends: a harm detector, a detoxifier.

Both run on transformers in the worker of the model that answers, on its device. A detector is a classifier: `generate`
returns its score as text and the log-probabilities of `harmful` and `harmless`. A detoxifier is a text model on plain
prompts, without a chat template. `scripted` stands for either, without a model.

Not covered: vLLM's pooling runner, a pool of workers of their own.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from engine.admission import Claim
from engine.backends import create
from engine.backends.base import Backend, BackendConfig, BackendStats
from engine.backends.templates import RAW
from engine.errors import UsageError
from engine.types import Completion, Message, Query, Sampling

if TYPE_CHECKING:
    from engine.helpers import Helper

DETECTOR_TOKENS = 512
"""max_length of the detector's training (train_harm_detector.sh); longer texts are cut at their end."""
HEAD = "detector"
SCORES = {"eta_clip": "ClipBackend", "eta_reward": "RewardBackend"}
"""Role -> class in engine.backends.scores."""


def create_helper(helper: Helper) -> Backend:
    """The helper's backend, not yet started."""
    config = helper.backend
    if config.name == "scripted":
        return create(config)
    if helper.role == "detector":
        return Detector(config)
    if helper.role in SCORES:
        return Named(getattr(import_module("engine.backends.scores"), SCORES[helper.role])(config), helper.role)
    import torch

    # The model that answers has chosen how many threads this process has; a small helper must not change that.
    arguments = {**config.engine_args, "threads": torch.get_num_threads()}
    plain = replace(config, text_only=True, chat_template_kwargs={"chat_template": RAW}, engine_args=arguments)
    return Named(create(plain), helper.role)


class Detector:
    """A sequence classifier of one logit, whose sigmoid is the harmlessness of a text."""

    def __init__(self, config: BackendConfig) -> None:
        from engine.backends.classifier import TransformersClassifier
        from engine.judges.classifier import Head

        head = Head(HEAD, "sequence", config.model, 1, DETECTOR_TOKENS, config.adapter, revision=config.revision)
        self._classifier = TransformersClassifier(config, [head])
        self._requests = self._tokens = 0

    @property
    def capacity(self) -> int:
        return self._classifier.capacity

    def cost(self, query: Query) -> Claim:
        return self._classifier.cost(query)

    async def start(self) -> None:
        """Load. UsageError where model, adapter or classification layer are missing."""
        await _named(self._classifier.start(), "detector")

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:  # noqa: ARG002
        """The score of the last message's text. A logit that is no number gives no probabilities."""
        started = time.monotonic()
        text = messages[-1].text
        tokens, (logit,) = await self._classifier.measured(HEAD, text)
        self._requests += 1
        self._tokens += tokens
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        seconds = time.monotonic() - started
        if not math.isfinite(logit):
            return Completion(str(logit), "stop", digest, tokens, 0, 0, None, seconds)
        scores = {"harmless": _log_sigmoid(logit), "harmful": _log_sigmoid(-logit)}
        return Completion(f"{math.exp(scores['harmless']):.6f}", "stop", digest, tokens, 0, 0, scores, seconds)

    def stats(self) -> BackendStats:
        return BackendStats(prompt_tokens=self._tokens, requests=self._requests)

    async def close(self) -> None:
        await self._classifier.close()


class Named:
    """A backend whose errors at start name the helper's own flags."""

    def __init__(self, backend: Backend, role: str) -> None:
        self._backend, self._role = backend, role

    @property
    def capacity(self) -> int:
        return self._backend.capacity

    def cost(self, query: Query) -> Claim:
        return self._backend.cost(query)

    async def start(self) -> None:
        """As the backend's, UsageError in the helper's name."""
        await _named(self._backend.start(), self._role)

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self._backend.generate(messages, sampling)

    def stats(self) -> BackendStats:
        return self._backend.stats()

    async def close(self) -> None:
        await self._backend.close()


def total(parts: Sequence[BackendStats]) -> BackendStats:
    """The counters of several backends together; pictures are those of the first."""
    return replace(
        parts[0],
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        cached_tokens=sum(part.cached_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        requests=sum(part.requests for part in parts),
        neutralised=sum(part.neutralised for part in parts),
    )


def in_the_name_of(role: str, error: UsageError) -> UsageError:
    """The error with `--model` and `--adapter` called as the helper's flags are."""
    flag = f"--{role.replace('_', '-')}"
    words = str(error).replace("--model ", f"{flag} ").replace("--adapter ", f"{flag}-adapter ")
    words = words.replace("give tiny, a model folder", "give a model folder")
    return UsageError(words if flag in words else f"{flag}: {words}")


async def _named(starting: Awaitable[None], role: str) -> None:
    try:
        await starting
    except UsageError as error:
        raise in_the_name_of(role, error) from error


def _log_sigmoid(logit: float) -> float:
    return -math.log1p(math.exp(-logit)) if logit >= 0 else logit - math.log1p(math.exp(logit))
