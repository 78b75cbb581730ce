"""The one narrow seam to models: `async generate(messages, sampling) -> Completion`.

A strategy never imports a backend and a backend never imports a strategy. Everything that a model does for the
engine passes here, so caching, recording and fakes are backends too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol

from engine.admission import Claim
from engine.errors import UsageError
from engine.types import Completion, Message, Query, Sampling


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """What it takes to start a backend in an actor (picklable, no secrets: keys are named by environment variable)."""

    name: str
    model: str
    revision: str | None = None
    adapter: str | None = None
    """Folder of a LoRA adapter that goes onto the model."""
    base_url: str | None = None
    api_key_env: str | None = None
    tensor_parallel: int = 1
    gpus: float = 0.0
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    picture_prep: str = "processor"
    """pad (to a square, mean colour, as LLaVA trains) or processor (the model's own preparation)."""
    trust_remote_code: bool = False
    text_only: bool = False
    """The model reads text and takes no pictures: some judges' models."""
    seed: int = 0
    scripted_harmful: float = 0.4
    scripted_latency_ms: float = 0.0
    longest_answer: int = 1024
    """The strategy's longest max_tokens: how much of the KV cache one row in flight may need (admission)."""


@dataclass(frozen=True, slots=True)
class BackendStats:
    """Counters since start, as shown by the progress display and written to the manifest."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    requests: int = 0
    picture_encodes: int | None = None
    """Runs of the vision tower, where the engine counts them (ideal: one a picture)."""
    neutralised: int = 0
    """Special-token strings in texts that were broken up before sending (openai only: no token ids can be sent)."""


class Backend(Protocol):
    """One model behind one actor. A class with `runs_model = True` gets cores or a GPU for it.

    Raises from `generate`: PromptError (the prompt does not fit; checked before the engine is asked), RequestError
    (this request failed), EngineDeadError (nothing will be answered any more).
    """

    @property
    def capacity(self) -> int:
        """Admission budget, in the unit of `cost` (tokens of the KV cache, or rows)."""
        ...

    def cost(self, query: Query) -> Claim:
        """What one row of this query holds of the budget while it is in flight (`Claim(1)` where rows are counted)."""
        ...

    async def start(self) -> None:
        """Load the model; raises UsageError where it cannot be used at all (no such model, no pictures)."""
        ...

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion: ...

    def stats(self) -> BackendStats: ...

    async def close(self) -> None:
        """Stop every process and thread of this backend. Safe to call twice."""
        ...


def require(package: str, backend: str, extra: str) -> None:
    """UsageError where the package that a backend stands on is not installed on the machine that runs it."""
    if find_spec(package) is None:
        raise UsageError(
            f"--backend {backend}: {package} is not installed on this machine; pip install 'ecso-engine[{extra}]', or "
            "choose openai (a server) or scripted (no model)"
        )


def read_key(name: str | None) -> str:
    """The key's value; "" where no variable is named (a server of one's own). UsageError where it is empty."""
    if name is None:
        return ""
    value = os.environ.get(name, "").strip()
    if not value:
        raise UsageError(f"--api-key-env {name}: the environment variable {name} is not set")
    return value
