"""Any OpenAI-compatible server (`vllm serve`, SGLang, a cloud): chat completions with the pictures as data URLs.

The server tokenises, so special-token strings in a text cannot be kept apart by ids. They are neutralised instead: a
zero-width joiner goes behind their first character, which keeps them readable and unmatched. How often is counted in
`BackendStats.neutralised`, and the recorded prompt hash is that of what was sent.

`--engine-arg` takes timeout_s, max_concurrency, max_retries and extra_body (JSON fields for the server).
Secrets: the key is read from the environment variable that `--api-key-env` names, at start, and stands in no config,
message, log or repr; a server's message that repeats it is shown without it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from engine.admission import Claim
from engine.backends.base import BackendConfig, BackendStats, read_key
from engine.backends.labels import SPACES, logsumexp
from engine.backends.pacing import Aimd, wait_s
from engine.backends.wire import data_url, neutralise
from engine.errors import EngineDeadError, PromptError, RequestError, UsageError
from engine.types import Completion, Message, Picture, Query, Sampling

log = logging.getLogger(__name__)

ENGINE_ARGS = {"timeout_s", "max_concurrency", "max_retries", "extra_body"}
TIMEOUT_S, CONCURRENCY, RETRIES = 600.0, 128, 6
PROBE_S = 120.0
"""A server that loads its model at the first question needs this long."""
TOP_LOGPROBS = 20
"""The most that servers give. A label that is not among them has less probability than each of them."""
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SLOW_DOWN = frozenset({429, 503, 529})
TOO_LONG = ("context length", "maximum model length", "context window", "too many tokens", "longer than the maximum")
"""How servers say that a prompt does not fit: they have no code for it, so their words must do."""
URLS_KEPT = 64


class _Reply(NamedTuple):
    status: int
    retry_after: str | None
    body: str


class _Key:
    """A secret that shows itself to nobody but the request."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "<api key>"

    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def hidden_in(self, text: str) -> str:
        return text.replace(self._value, "<api key>") if self._value else text


class OpenAIBackend:
    """One server."""

    def __init__(self, config: BackendConfig) -> None:
        unknown = sorted(set(config.engine_args) - ENGINE_ARGS)
        if unknown:
            raise UsageError(f"--engine-arg {unknown[0]}: unknown to openai; it takes {', '.join(sorted(ENGINE_ARGS))}")
        if not config.base_url or not config.base_url.startswith(("http://", "https://")):
            raise UsageError("--backend openai needs --base-url, for example http://localhost:8000/v1")
        args = config.engine_args
        self._config = config
        self._base = config.base_url.rstrip("/")
        self._most = int(args.get("max_concurrency", CONCURRENCY))
        self._retries = int(args.get("max_retries", RETRIES))
        self._timeout = float(args.get("timeout_s", TIMEOUT_S))
        self._extra: dict[str, Any] = dict(args.get("extra_body", {}))
        if config.chat_template_kwargs:
            self._extra["chat_template_kwargs"] = dict(config.chat_template_kwargs)
        self._pace = Aimd(self._most)
        self._draw = random.Random(config.seed)
        self._session: Any = None
        self._key = _Key("")
        self._urls: OrderedDict[str, str] = OrderedDict()
        self._limit_field = "max_tokens"
        self._gives_logprobs = True
        self._requests = self._prompt_tokens = self._cached_tokens = self._completion_tokens = self._neutralised = 0

    @property
    def capacity(self) -> int:
        """In rows: the most requests at once. How many really are is the pacing's business."""
        return self._most

    def cost(self, query: Query) -> Claim:  # noqa: ARG002 (the seam's signature)
        """A row asks one question at a time."""
        return Claim(1)

    async def start(self) -> None:
        """Open the connection and ask one token of the model.

        Raises UsageError for a server that cannot be reached, a refused key, and a model that it does not serve.
        """
        import aiohttp

        self._key = _Key(read_key(self._config.api_key_env))
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=self._key.header())
        try:
            await self._probe()
        except BaseException:
            await self.close()
            raise

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """One chat completion, with retries where another try can help."""
        if self._session is None:
            raise EngineDeadError("the openai backend is not started, or closed")
        started = time.monotonic()
        safe = [replace(message, text=self._neutral(message.text)) for message in messages]
        content = [await self._content(message) for message in safe]
        answer = await self._post(content, sampling, begun=messages[-1].begun)
        choice, usage = _choice(answer), answer.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        self._requests += 1
        self._prompt_tokens += usage.get("prompt_tokens") or 0
        self._cached_tokens += details.get("cached_tokens") or 0
        self._completion_tokens += usage.get("completion_tokens") or 0
        return Completion(
            text=str(choice["message"].get("content") or ""),
            finish_reason=str(choice.get("finish_reason") or "unknown"),
            prompt_sha256=_sha256(safe),
            prompt_tokens=usage.get("prompt_tokens"),
            cached_tokens=details.get("cached_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            label_logprobs=label_logprobs(choice, sampling.labels),
            seconds=time.monotonic() - started,
        )

    def stats(self) -> BackendStats:
        """As far as the server says."""
        return BackendStats(
            self._prompt_tokens,
            self._cached_tokens,
            self._completion_tokens,
            self._requests,
            neutralised=self._neutralised,
        )

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _probe(self) -> None:
        """Is the server there, does it take the key, does it serve the model?"""
        where = f"--base-url {self._base}"
        body = self._body([{"role": "user", "content": "Hi"}], Sampling(max_tokens=1))
        try:
            async with asyncio.timeout(min(self._timeout, PROBE_S)):
                reply = await self._send(body)
                if reply.status == 400 and self._adapt(reply, body):
                    reply = await self._send(self._body(body["messages"], Sampling(max_tokens=1)))
        except (OSError, TimeoutError) as error:
            raise UsageError(f"{where}: no server answers there ({_cause(error)}); is it running?") from None
        if reply.status in (401, 403):
            raise UsageError(f"{where}: the key is refused ({self._said(reply)}); name its variable by --api-key-env")
        if reply.status == 404:
            raise UsageError(f"{where}: {self._said(reply)} (404); check --model {self._config.model} and the /v1")
        if reply.status == 400:
            raise UsageError(f"{where}: the server refuses a plain question: {self._said(reply)}")

    async def _post(self, messages: list[dict[str, Any]], sampling: Sampling, *, begun: bool) -> dict[str, Any]:
        """The parsed answer. Waits and tries again where the cause can pass; the last cause goes into the error."""
        attempt = 0
        while True:
            reply, failure, sent = await self._try(messages, sampling, begun=begun)
            if reply is not None and reply.status == 200:
                answer = _parsed(reply.body)
                if answer is not None:
                    self._pace.answered()
                    return answer
                failure = f"the answer is no chat completion: {self._key.hidden_in(reply.body[:200])!r}"
            elif reply is not None:
                if reply.status == 400 and self._adapt(reply, sent):
                    continue
                failure = self._judge(reply)
            pause = wait_s(attempt, reply.retry_after if reply is not None else None, self._draw)
            attempt += 1
            if attempt > self._retries or pause is None:
                raise RequestError(f"{self._base}: {failure} (tried {attempt} times)")
            await asyncio.sleep(pause)

    async def _try(
        self, messages: list[dict[str, Any]], sampling: Sampling, *, begun: bool
    ) -> tuple[_Reply | None, str, dict[str, Any]]:
        """(the reply or None, why there is none, what was sent)."""
        async with self._pace.slot():
            body = self._body(messages, sampling, begun=begun)
            try:
                return await self._send(body), "", body
            except TimeoutError:
                self._pace.refused()
                return None, f"no answer within {self._timeout:g} s", body
            except OSError as error:
                return None, f"the connection failed: {_cause(error)}", body

    def _judge(self, reply: _Reply) -> str:
        """The failure in words, if another try can help. Raises PromptError or RequestError if none can."""
        said = self._said(reply)
        if reply.status in SLOW_DOWN:
            self._pace.refused()
        if reply.status in TRANSIENT or reply.status >= 500:
            return f"HTTP {reply.status}: {said}"
        if reply.status in (400, 413, 422) and any(words in said.lower() for words in TOO_LONG):
            raise PromptError(f"the server says that the prompt does not fit: {said}")
        raise RequestError(f"{self._base}: HTTP {reply.status}: {said}")

    def _adapt(self, reply: _Reply, sent: Mapping[str, Any]) -> bool:
        """Servers differ in two fields: the name of the limit, and whether there are probabilities. True: ask again.

        What this request carried counts: others that were under way when the first was refused are asked again too.
        """
        said, ours = reply.body, sent.keys() - self._extra.keys()
        if "max_completion_tokens" in said and "max_tokens" in ours:
            self._limit_field = "max_completion_tokens"
            return True
        if "logprobs" in said and "logprobs" in ours:
            if self._gives_logprobs:
                log.warning("%s gives no log-probabilities: verdicts are read from the text", self._base)
            self._gives_logprobs = False
            return True
        return False

    async def _send(self, body: dict[str, Any]) -> _Reply:
        """One HTTP request. aiohttp's own errors become OSError: theirs can carry the request's headers."""
        import aiohttp

        url = f"{self._base}/chat/completions"
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                text = await response.text(errors="replace")
                return _Reply(response.status, response.headers.get("Retry-After"), text)
        except TimeoutError:
            raise
        except aiohttp.ClientError as error:
            raise OSError(f"{type(error).__name__}: {self._key.hidden_in(_cause(error))}") from None

    def _body(self, messages: list[dict[str, Any]], sampling: Sampling, *, begun: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._config.model,
            "messages": messages,
            self._limit_field: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **self._extra,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if begun:  # vLLM's and SGLang's fields
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        if sampling.labels and self._gives_logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        return body

    async def _content(self, message: Message) -> dict[str, Any]:
        if not message.pictures:
            return {"role": message.role, "content": message.text}
        urls = [await self._url(picture) for picture in message.pictures]
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {"role": message.role, "content": [*parts, {"type": "text", "text": message.text}]}

    async def _url(self, picture: Picture) -> str:
        kept = self._urls.get(picture.sha256)
        if kept is None:
            kept = await asyncio.to_thread(data_url, picture, self._config.picture_prep)
            self._urls[picture.sha256] = kept
            if len(self._urls) > URLS_KEPT:
                self._urls.popitem(last=False)
        return kept

    def _neutral(self, text: str) -> str:
        changed, times = neutralise(text)
        self._neutralised += times
        return changed

    def _said(self, reply: _Reply) -> str:
        """The server's own message, in one line, without the key."""
        return self._key.hidden_in(server_message(reply.body))


def server_message(body: str) -> str:
    """`error.message` of the usual JSON, or the start of whatever was sent."""
    try:
        error = json.loads(body)
        error = error.get("error", error)
        message = error.get("message", error) if isinstance(error, Mapping) else error
    except (ValueError, AttributeError):
        message = body
    return " ".join(str(message).split())[:500] or "no message"


def label_logprobs(choice: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float] | None:
    """label -> log of the summed probability of its spellings among the first token's alternatives; None where the
    server gave none. A label outside them gets -inf."""
    content = (choice.get("logprobs") or {}).get("content") or []
    if not labels or not content:
        return None
    seen = {entry["token"]: float(entry["logprob"]) for entry in [content[0], *(content[0].get("top_logprobs") or ())]}
    return {
        label: logsumexp([value for token, value in seen.items() if _is_spelling(token, label)]) for label in labels
    }


def _is_spelling(token: str, label: str) -> bool:
    return token.translate(SPACES).strip().casefold() == label.strip().casefold()


def _parsed(body: str) -> dict[str, Any] | None:
    """The answer, if it is one."""
    try:
        answer = json.loads(body)
        _choice(answer)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return answer if isinstance(answer, dict) else None


def _choice(answer: Mapping[str, Any]) -> dict[str, Any]:
    choice = answer["choices"][0]
    choice["message"].get("content")
    return dict(choice)


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _sha256(messages: Sequence[Message]) -> str:
    """Over roles, texts as sent, and pictures: the server keeps its token ids to itself."""
    parts = [[m.role, m.text, [picture.sha256 for picture in m.pictures]] for m in messages]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()
