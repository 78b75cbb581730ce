"""The seam of the judges that annotate: what one is made from, what it says, and how it asks."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.backends.base import Backend, BackendConfig
from engine.types import Completion, Message, Query, Sampling

FIELDS = ("final_response", "direct_response", "query")
"""What of a transcript can be judged."""
Opinion = Literal["harmless", "harmful", "refused", "answered", "unknown"]


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """What a judge may be made from. `model_label`: name and revision, as the version tells them."""

    backend: BackendConfig | None = None
    model_label: str = ""
    threshold: float = 0.5
    file: str | None = None
    """What stood behind `NAME=`, for the judges of FILE_JUDGES."""
    benchmark: str | None = None
    """Whose rows are judged: `Benchmark.judge_for` names the prompt family of each."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge says of one text. `verdict` None: it gives none (an embedding). `p`: the probability of `harmful`
    or `refused`. `text`: the raw reply, or the words that decided. `score`: 0..1, from judges that grade."""

    verdict: Opinion | None
    p: float | None = None
    text: str | None = None
    embedding: Sequence[float] | None = None
    score: float | None = None


Ask = Callable[[Query, str], Awaitable[Judged]]
"""(query, text to judge) -> what the judge says; RowError where this one cannot be judged."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge, as named in the annotations. `version` and `prompt_sha256` together stand for all that can change what
    it says. `open` makes it ready to judge, over the started backend where `backend` asks for one."""

    name: str
    version: str
    prompt_sha256: str
    field: str
    """What it judges where nothing else is said."""
    open: Callable[[Any], Ask]
    backend: BackendConfig | None = None
    shows_pictures: bool = False
    create: Callable[[BackendConfig], Any] | None = None
    """Makes what `open` is given where that is no chat model (engine.judges.classifier). None: the backend itself."""
    tells: Literal["harm", "refusals", "grade"] = "harm"
    """What its answers mean in evaluations: for judges from outside; those of the house are declared by name."""


def sha256(text: str) -> str:
    """64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


class Recorder:
    """The `ask` that shared judging code expects, over a backend; it remembers the last reply."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.said = ""

    async def __call__(
        self,
        step: str,  # noqa: ARG002 (the signature of engine.types.Ask)
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        attempt: int = 0,  # noqa: ARG002
        model: str = "",  # noqa: ARG002
    ) -> Completion:
        completion = await self._backend.generate(messages, sampling)
        self.said = completion.text
        return completion
