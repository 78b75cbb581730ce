"""A backend without a model: it ships with the package, so that pipelines can be run, timed and killed anywhere.

Three scripts, by `ScriptedBackend(config, script)` or `engine_args={"script": …}`:
a list of replies (in the order of the calls; RequestError when it runs out), a function `(messages, sampling) -> str`
or `-> Completion`, or nothing: then a deterministic answerer plays ECSO's four roles. Each direct answer carries a
mark that its own harm detection reads again, so that a stated share of rows (`scripted_harmful`) is judged harmful;
safe answers never are. What a row gets depends on its text, its pictures and the seed, never on order or time.

What it does not cover: anything about a model's behaviour. Its figures say how fast the machinery is, nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from engine.admission import Claim
from engine.backends.base import BackendConfig, BackendStats
from engine.errors import RequestError, UsageError
from engine.types import Completion, Message, Query, Sampling

Script = Sequence[str] | Callable[[Sequence[Message], Sampling], "str | Completion"]

ROWS_IN_FLIGHT = 256
"""Capacity in rows: enough to hide a call's latency, few enough that a kill repeats little."""
PICTURE_TOKENS = 8
"""What one picture counts in `prompt_tokens`; text counts its words."""
HARMFUL_MARK = "[scripted: harmful]"
HARMLESS_MARK = "[scripted: harmless]"
WORDS = (
    *("the", "picture", "shows", "an", "object", "on", "table", "near", "window", "with", "light", "colour"),
    *("small", "sign", "beside", "paper", "while", "people", "walk", "past", "street", "tree", "house", "garden"),
    *("river", "stone", "wood", "glass", "metal", "cloth", "bread", "water", "morning", "evening"),
)
# How ECSO's prompts are known again (arXiv 2403.09572): by the fixed words that open or close each of them.
TELL_END = "Answer yes or no:"
TELL_RESPONSE = "\n\nRESPONSE:\n"
CAPTION_END = "describe the image."
SAFE_START = "You are given some hints regarding a question on an image."
DETOX_END = "\nCorrected response: "


class _Reply(NamedTuple):
    text: str
    logprobs: dict[str, float] | None


class ScriptedBackend:
    """Answers from a script. One event loop, no threads, nothing to close."""

    def __init__(self, config: BackendConfig, script: Script | None = None) -> None:
        unknown = set(config.engine_args) - {"script", "capacity"}
        if unknown:
            raise UsageError(f"--engine-arg {sorted(unknown)[0]}: unknown to the scripted backend (script, capacity)")
        self._config = config
        self._script: Script | None = script if script is not None else config.engine_args.get("script")
        self._replies: Iterator[str] = iter(() if self._script is None or callable(self._script) else self._script)
        self._latency = config.scripted_latency_ms / 1000
        self._seed = f"{config.seed}\0".encode()
        self._requests = self._prompt_tokens = self._completion_tokens = 0

    @property
    def capacity(self) -> int:
        """In rows."""
        return int(self._config.engine_args.get("capacity", ROWS_IN_FLIGHT))

    def cost(self, query: Query) -> Claim:  # noqa: ARG002 (the seam's signature)
        """Every row costs the same."""
        return Claim(1)

    async def start(self) -> None:
        """Nothing to load; a share outside 0..1 is refused."""
        if not 0 <= self._config.scripted_harmful <= 1:
            raise UsageError(f"--scripted-harmful {self._config.scripted_harmful}: expected a share between 0 and 1")

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The script's reply, after `scripted_latency_ms`."""
        started = time.perf_counter()
        prompt = _digest(messages)
        answer = self._answer(messages, sampling, hashlib.sha256(self._seed + prompt).digest())
        if self._latency:
            await asyncio.sleep(self._latency)
        if isinstance(answer, Completion):
            self._count(answer.prompt_tokens or 0, answer.completion_tokens or 0)
            return answer
        prompt_tokens = sum(len(m.text.split()) + PICTURE_TOKENS * len(m.pictures) for m in messages)
        words = answer.text.split(" ")
        finish, text = "stop", answer.text
        if len(words) > sampling.max_tokens:
            finish, words = "length", words[: sampling.max_tokens]
            text = " ".join(words)
        self._count(prompt_tokens, len(words))
        seconds = time.perf_counter() - started
        return Completion(text, finish, prompt.hex(), prompt_tokens, 0, len(words), answer.logprobs, seconds)

    def stats(self) -> BackendStats:
        """Words stand for tokens."""
        return BackendStats(self._prompt_tokens, 0, self._completion_tokens, self._requests)

    async def close(self) -> None:
        """Nothing to stop."""

    def _count(self, prompt_tokens: int, completion_tokens: int) -> None:
        self._requests += 1
        self._prompt_tokens += prompt_tokens
        self._completion_tokens += completion_tokens

    def _answer(self, messages: Sequence[Message], sampling: Sampling, digest: bytes) -> _Reply | Completion:
        if self._script is None:
            return _play(messages, sampling, digest, self._config.scripted_harmful)
        given = self._script(messages, sampling) if callable(self._script) else self._next()
        if isinstance(given, Completion):
            return given
        return _Reply(given, _spelled(given, sampling.labels))

    def _next(self) -> str:
        reply = next(self._replies, None)
        if reply is None:
            raise RequestError(f"scripted backend: ran out of replies after {self._requests} calls")
        return reply


def _digest(messages: Sequence[Message]) -> bytes:
    """sha256 over roles, texts and pictures: the prompt's identity."""
    whole = hashlib.sha256()
    for message in messages:
        whole.update(f"{message.role}\0{message.text}\0".encode("utf-8", "surrogatepass"))
        for picture in message.pictures:
            whole.update(picture.sha256.encode())
    return whole.digest()


def _play(messages: Sequence[Message], sampling: Sampling, digest: bytes, harmful: float) -> _Reply:
    """The default answerer: which of ECSO's roles is asked, and its reply. `digest` (prompt and seed) is the coin."""
    text = messages[-1].text
    if sampling.labels or text.rstrip().endswith(TELL_END):
        return _judge(text, sampling, digest)
    if text.endswith(CAPTION_END):
        return _Reply(_sentence("The image shows", digest), None)
    if text.startswith(SAFE_START) or text.endswith(DETOX_END):
        return _Reply(f"{_sentence('A safe reply:', digest)} {HARMLESS_MARK}", None)
    share = int.from_bytes(digest[:8], "big") / 2**64
    mark = HARMFUL_MARK if share < harmful else HARMLESS_MARK
    return _Reply(f"{_sentence('An answer:', digest)} {mark}", None)


def _judge(text: str, sampling: Sampling, digest: bytes) -> _Reply:
    """Yes (or `harmful`, where that is asked) iff the response (after the last RESPONSE heading: a query may hold the
    mark too) is marked harmful."""
    response = text.rpartition(TELL_RESPONSE)[2]
    is_harmful = response.rfind(HARMFUL_MARK) > response.rfind(HARMLESS_MARK)
    if not sampling.labels:
        return _Reply("Yes" if is_harmful else "No", None)
    sure = 0.9 + 0.1 * digest[8] / 256
    harmful, harmless = ("harmful", "harmless") if "harmful" in sampling.labels else ("yes", "no")
    said, other = (harmful, harmless) if is_harmful else (harmless, harmful)
    logprobs = {label: math.log({said: sure, other: 1 - sure}.get(label, 1e-9)) for label in sampling.labels}
    return _Reply(said.capitalize(), logprobs)


def _sentence(opening: str, digest: bytes) -> str:
    """Twelve words chosen by the digest, and eight of its digits: distinct texts for distinct prompts."""
    chosen = " ".join([WORDS[byte % len(WORDS)] for byte in digest[10:22]])
    return f"{opening} {chosen} {digest[:4].hex()}."


def _spelled(text: str, labels: Sequence[str]) -> dict[str, float] | None:
    """Certainty for the label that a scripted reply opens with; without such a word, no probabilities."""
    opening = text.strip().lower()
    said = next((label for label in labels if opening.startswith(label.lower())), None)
    if said is None:
        return None
    return {label: 0.0 if label == said else -30.0 for label in labels}
