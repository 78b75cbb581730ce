"""`embedding`: a vector of a text from an OpenAI-compatible server's /embeddings (vLLM, SGLang, TEI, a cloud).

Used by semantic deduplication. Covers: servers that embed text. Does not cover: embeddings of pictures, models in this
process (make a Parquet file of vectors and bring it in with `--judge embedding=FILE`). One text a request: servers
batch what arrives together, and a text that fails then fails alone.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from typing import Any

from engine.backends.base import Backend, BackendConfig, read_key
from engine.backends.pacing import wait_s
from engine.errors import RequestError, UsageError
from engine.judges.base import Ask, Judge, Judged, JudgeOptions
from engine.types import Query

VERSION = "1"
TIMEOUT_S, CONCURRENCY, RETRIES = 120.0, 32, 6
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SAID = 300


def embedding(options: JudgeOptions) -> Judge:
    """Needs `--backend openai`, which is not started itself; embeds the query unless told otherwise."""
    config = options.backend
    if config is None or config.name != "openai" or not config.base_url:
        raise UsageError(
            "--judge embedding asks a server: give --backend openai, --base-url and --model, or bring in vectors with "
            "--judge embedding=FILE.parquet"
        )
    read_key(config.api_key_env)  # a variable that is not set is said now

    def open_judge(backend: Backend | None) -> Ask:  # noqa: ARG001
        client = Client(config)

        async def ask(query: Query, text: str) -> Judged:  # noqa: ARG001
            return Judged(None, embedding=await client.embed(text))

        return ask

    return Judge("embedding", f"{VERSION} {options.model_label}", "0" * 64, "query", open_judge)


class Client:
    """One server. Belongs to the event loop that first asks it."""

    def __init__(self, config: BackendConfig) -> None:
        self._url = f"{(config.base_url or '').rstrip('/')}/embeddings"
        self._model = config.model
        self._key = read_key(config.api_key_env)
        self._retries = int(config.engine_args.get("max_retries", RETRIES))
        self._slots = asyncio.Semaphore(int(config.engine_args.get("max_concurrency", CONCURRENCY)))
        self._draw = random.Random(config.seed)
        self._session: Any = None

    async def embed(self, text: str) -> list[float]:
        """The vector. RequestError where the server refuses, or has failed often enough."""
        failure = ""
        async with self._slots:
            for attempt in range(self._retries + 1):
                status, retry_after, body = await self._post(text)
                if status == 200:
                    found = vector(body)
                    if found is not None:
                        return found
                    failure = f"the answer holds no vector of numbers: {self._shown(body)!r}"
                else:
                    failure = f"HTTP {status}: {self._shown(body)}" if status else body
                pause = wait_s(attempt, retry_after, self._draw)
                if (status not in (0, 200) and status not in TRANSIENT) or pause is None or attempt == self._retries:
                    break
                await asyncio.sleep(pause)
        raise RequestError(f"{self._url}: {failure}")

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, text: str) -> tuple[int, str | None, str]:
        """(status, Retry-After, body); status 0 where there was no answer."""
        import aiohttp

        if self._session is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=10)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        body = {"model": self._model, "input": text, "encoding_format": "float"}
        try:
            async with self._session.post(self._url, json=body, allow_redirects=False) as response:
                return response.status, response.headers.get("Retry-After"), await response.text(errors="replace")
        except TimeoutError:
            return 0, None, f"no answer within {TIMEOUT_S:g} s"
        except aiohttp.ClientError as error:
            return 0, None, self._shown(f"the connection failed: {error or type(error).__name__}")

    def _shown(self, text: str) -> str:
        """A server's words in one line, without the key."""
        words = " ".join(text.split())
        return (words.replace(self._key, "<api key>") if self._key else words)[:SAID]


def vector(body: str) -> list[float] | None:
    """`data[0].embedding`, if it is a list of finite numbers."""
    try:
        found = [float(value) for value in json.loads(body)["data"][0]["embedding"]]
    except (ValueError, LookupError, TypeError):
        return None
    return found if found and all(map(math.isfinite, found)) else None
