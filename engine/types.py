"""The values in flight: frozen dataclasses, one meaning each (the words of the README).

Nothing here imports a heavy library. Field for field, `Transcript`, `Step` and `PictureRow` equal
`schemas/transcript.json` and `schemas/picture.json`; a test holds them together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Verdict = Literal["harmless", "harmful", "unknown", "unchecked"]
Status = Literal["ok", "unresolved", "error"]
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its encoded bytes as the source gave them, and what a header read found."""

    data: bytes
    sha256: str
    width: int
    height: int
    format: str


@dataclass(frozen=True, slots=True)
class Query:
    """One input: picture(s) + text + what the source says of it."""

    query_id: str
    text: str
    pictures: tuple[Picture, ...] = ()
    source: str = ""
    source_key: str = ""
    source_index: int = 0
    split: str = ""
    category: str | None = None
    subcategory: str | None = None
    label_safe: bool | None = None
    reference: str | None = None
    extra: str | None = None
    """JSON object of further source columns (kept as text: one pinned schema)."""


def query_id(picture_digests: Sequence[bytes], text: str) -> str:
    """sha256 over the 32-byte sha256 of each picture in order, a NUL, and the exact text (UTF-8); 64 hex digits."""
    whole = hashlib.sha256()
    for digest in picture_digests:
        whole.update(digest)
    whole.update(b"\0")
    whole.update(text.encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn: pictures first, then the text (the order every LLaVA template uses)."""

    role: Role
    text: str
    pictures: tuple[Picture, ...] = ()
    begun: bool = False
    """Of a last turn of the assistant: the start of an answer, which the model goes on with. Otherwise it is a whole
    turn, such as one that a guard is to judge."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one completion is drawn. `labels`: words whose first-token log-probability is wanted (`("yes", "no")`).
    `min_tokens`: no end before so many tokens (vLLM only; benchmarks hold lengths equal with it)."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    labels: tuple[str, ...] = ()
    min_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What the backend answered. `label_logprobs`: label -> log of the summed probability of its spellings,
    or None where the backend offers none. Token counts are None where the backend does not say."""

    text: str
    finish_reason: str
    prompt_sha256: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    label_logprobs: Mapping[str, float] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on one response, with p(harmful) where probabilities were offered."""

    verdict: Verdict
    p_harmful: float | None


class Ask(Protocol):
    """What a strategy is given: one call to a model, recorded as a step of the transcript. `model`: "" is the one that
    answers; else the role of a helper (`detector`, `detoxifier`, `eta_clip`), where the run has one."""

    def __call__(
        self, step: str, messages: Sequence[Message], sampling: Sampling, *, attempt: int = 0, model: str = ""
    ) -> Awaitable[Completion]: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy decided for one query."""

    final_response: str
    final_verdict: Verdict
    status: Status = "ok"
    direct_response: str | None = None
    direct_verdict: Verdict | None = None
    p_harmful: float | None = None
    final_p_harmful: float | None = None
    caption: str | None = None
    eyes_closed: bool = False
    attempts: int = 0


class Strategy(Protocol):
    """From a query to an outcome, by any number of calls."""

    def __call__(self, query: Query, ask: Ask) -> Awaitable[Outcome]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One call that a strategy made, as kept in the transcript."""

    name: str
    attempt: int
    with_pictures: bool
    prompt_sha256: str
    text: str
    finish_reason: str
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    label_logprobs: str | None
    """JSON object label -> log-probability, or None where none were asked for or given."""
    p_harmful: float | None
    verdict: Verdict | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """Everything that happened to one query: every call, the verdicts, the final response, or the error."""

    run_id: str
    query_id: str
    source: str
    source_key: str
    source_index: int
    duplicate_keys: tuple[str, ...]
    split: str
    category: str | None
    subcategory: str | None
    label_safe: bool | None
    reference: str | None
    extra: str | None
    query: str
    picture_sha256: tuple[str, ...]
    strategy: str
    preset: str
    model: str
    model_revision: str | None
    prompt_set_sha256: str
    engine_version: str
    status: Status
    direct_response: str | None
    direct_verdict: Verdict | None
    p_harmful: float | None
    caption: str | None
    eyes_closed: bool
    attempts: int
    final_response: str | None
    final_verdict: Verdict
    final_p_harmful: float | None
    error_stage: str | None
    error_type: str | None
    error_message: str | None
    seconds: float
    steps: tuple[Step, ...] = field(default=())
