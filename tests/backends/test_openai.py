"""The openai backend against a real local server that can be told to misbehave."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pytest

from engine.backends.base import BackendConfig
from engine.backends.openai import OpenAIBackend
from engine.backends.wire import JOINER, data_url, neutralise
from engine.errors import EngineDeadError, PromptError, RequestError, UsageError
from engine.types import Completion, Message, Sampling
from tests.backends.conftest import picture

web = pytest.importorskip("aiohttp.web")
KEY = "sk-very-secret-0123456789"
ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "A sign."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 40, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 32}},
}


def with_logprobs() -> dict[str, Any]:
    top = [{"token": "Yes", "logprob": math.log(0.5)}, {"token": " yes", "logprob": math.log(0.2)}]
    top.append({"token": "No", "logprob": math.log(0.1)})
    choice = {**ANSWER["choices"][0], "logprobs": {"content": [{**top[0], "top_logprobs": top}]}}  # type: ignore[index]
    return {**ANSWER, "choices": [choice]}


@dataclass
class Server:
    """Answers from `script` (a status with text, a dict, or a function), then always with ANSWER."""

    script: list[Any] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    busy: int = 0
    most: int = 0

    async def answer(self, request: Any) -> Any:
        body = await request.json()
        if body["messages"] == [{"role": "user", "content": "Hi"}] and not self.probed(body):
            return web.json_response(ANSWER)
        self.seen.append(body)
        self.headers.append(dict(request.headers))
        self.times.append(time.monotonic())
        self.busy += 1
        self.most = max(self.most, self.busy)
        try:
            return await self.next(request)
        finally:
            self.busy -= 1

    def probed(self, body: dict[str, Any]) -> bool:
        """The question at start is answered plainly unless the script begins with a fault for it."""
        return bool(self.script) and self.script[0] == "probe"

    async def next(self, request: Any) -> Any:
        while self.script and self.script[0] == "probe":
            self.script.pop(0)
        step = self.script.pop(0) if self.script else ANSWER
        if callable(step):
            step = await step(request)
        if isinstance(step, dict):
            return web.json_response(step)
        if isinstance(step, tuple):
            status, text, *headers = step
            return web.Response(status=status, text=text, headers=headers[0] if headers else None)
        return step


async def cut(request: Any) -> Any:
    request.transport.close()
    return ANSWER


def slow(seconds: float) -> Callable[[Any], Awaitable[Any]]:
    async def wait(_: Any) -> Any:
        await asyncio.sleep(seconds)
        return ANSWER

    return wait


def against(server: Server, talk: Callable[[OpenAIBackend], Awaitable[Any]], **changes: Any) -> Any:
    """Run `talk` with a started backend against the server."""

    async def whole() -> Any:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        args = {"timeout_s": 5, "max_retries": 3, **changes.pop("engine_args", {})}
        config = BackendConfig("openai", "m", base_url=f"http://127.0.0.1:{port}/v1", engine_args=args, **changes)
        backend = OpenAIBackend(config)
        try:
            await backend.start()
            return await talk(backend)
        finally:
            await backend.close()
            await backend.close()
            await runner.cleanup()

    return asyncio.run(whole())


async def one(backend: OpenAIBackend) -> Completion:
    return await backend.generate([Message("user", "What is it?", (picture(1),))], Sampling(64))


async def told(backend: OpenAIBackend) -> Completion:
    return await backend.generate([Message("user", "Is it?")], Sampling(1, labels=("yes", "no")))


def test_a_plain_answer_and_what_was_sent() -> None:
    server = Server()
    answer = against(server, one, chat_template_kwargs={"enable_thinking": False})
    assert (answer.text, answer.finish_reason) == ("A sign.", "stop")
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (40, 32, 3)
    sent = server.seen[0]
    assert (sent["max_tokens"], sent["temperature"]) == (64, 0.0)
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    shown, text = sent["messages"][0]["content"]
    assert shown["image_url"]["url"].startswith("data:image/png;base64,")
    assert base64.b64decode(shown["image_url"]["url"].partition(",")[2]) == picture(1).data
    assert text == {"type": "text", "text": "What is it?"}


def test_an_answer_that_has_been_begun_is_gone_on_with() -> None:
    """Else the server would open another turn behind it."""

    async def begun(backend: OpenAIBackend) -> Completion:
        return await backend.generate([Message("user", "?"), Message("assistant", "As an", begun=True)], Sampling(8))

    async def judged(backend: OpenAIBackend) -> Completion:
        return await backend.generate([Message("user", "?"), Message("assistant", "A whole turn.")], Sampling(8))

    server = Server()
    for ask in (begun, one, judged):
        against(server, ask)
    flags = ("add_generation_prompt", "continue_final_message")
    assert [server.seen[0][flag] for flag in flags] == [False, True]
    assert not any(flag in seen for flag in flags for seen in server.seen[1:])


def test_labels_are_read_from_the_first_tokens_alternatives() -> None:
    server = Server([with_logprobs()])
    answer = against(server, told)
    assert server.seen[0]["top_logprobs"] == 20
    assert answer.label_logprobs == pytest.approx({"yes": math.log(0.7), "no": math.log(0.1)})


def test_a_server_without_probabilities_is_asked_again_without() -> None:
    server = Server([(400, json.dumps({"error": {"message": "logprobs is not supported"}}))])
    assert against(server, told).label_logprobs is None
    assert "logprobs" not in server.seen[1]


def test_all_that_were_under_way_are_asked_again_without() -> None:
    both = asyncio.Event()

    async def refuse(_: Any) -> Any:
        if server.busy == 2:
            both.set()
        await both.wait()
        return 400, json.dumps({"error": {"message": "logprobs is not supported"}})

    async def two(backend: OpenAIBackend) -> list[Completion]:
        return await asyncio.gather(told(backend), told(backend))

    server = Server([refuse, refuse])
    assert [answer.label_logprobs for answer in against(server, two)] == [None, None]


def test_429_waits_as_long_as_the_server_says() -> None:
    server = Server([(429, "slow down", {"Retry-After": "1"})])
    assert against(server, one).text == "A sign."
    assert server.times[1] - server.times[0] >= 1.0


@pytest.mark.parametrize(
    "fault",
    [
        (500, "oops"),
        (503, "busy"),
        (502, "<html>bad gateway</html>"),
        cut,
        (200, "{not json"),
        (200, '{"choices": []}'),
    ],
    ids=["500", "503", "502", "cut", "malformed", "empty"],
)
def test_passing_faults_are_tried_again(fault: Any) -> None:
    server = Server([fault, fault])
    assert against(server, one).text == "A sign."
    assert len(server.seen) == 3


def test_a_slow_answer_is_given_up_and_asked_again() -> None:
    server = Server([slow(3)])
    assert against(server, one, engine_args={"timeout_s": 0.5}).text == "A sign."


def test_faults_that_last_become_the_rows_error_with_the_cause() -> None:
    with pytest.raises(RequestError, match=r"HTTP 500: out of luck \(tried 2 times\)"):
        against(Server([(500, "out of luck")] * 9), one, engine_args={"max_retries": 1})


def test_a_refusal_is_not_tried_again_and_says_what_the_server_said() -> None:
    server = Server([(400, json.dumps({"error": {"message": "no such thing"}}))])
    with pytest.raises(RequestError, match="HTTP 400: no such thing"):
        against(server, one)
    assert len(server.seen) == 1


def test_a_prompt_that_does_not_fit_is_a_prompt_error() -> None:
    words = "This model's maximum context length is 4096 tokens. However, you requested 9000."
    with pytest.raises(PromptError, match="4096"):
        against(Server([(400, json.dumps({"error": {"message": words}}))]), one)


def test_concurrency_falls_on_refusals_and_everything_is_answered() -> None:
    server = Server([(429, "", {"Retry-After": "0.05"})] * 4)

    async def many(backend: OpenAIBackend) -> float:
        await asyncio.gather(*(one(backend) for _ in range(40)))
        return backend._pace.limit

    against(server, many)
    assert len(server.seen) == 44
    assert server.most <= 16


def test_the_key_goes_to_the_server_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server = Server([(400, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}))])

    async def fail(backend: OpenAIBackend) -> str:
        with pytest.raises(RequestError) as caught:
            await one(backend)
        return f"{caught.value!r} {vars(backend)!r} {backend!r}"

    with caplog.at_level(logging.DEBUG):
        shown = against(server, fail, api_key_env="MY_KEY")
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in shown + caplog.text
    assert "<api key>" in shown


def test_a_key_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(UsageError, match="NOT_THERE_KEY is not set"):
        against(Server(), one, api_key_env="NOT_THERE_KEY")


def test_a_server_that_is_not_there_is_said_at_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    backend = OpenAIBackend(BackendConfig("openai", "m", base_url=f"http://127.0.0.1:{port}/v1"))
    with pytest.raises(UsageError, match="no server answers"):
        asyncio.run(backend.start())


@pytest.mark.parametrize(("status", "words"), [(401, "key is refused"), (404, "--model m"), (400, "refuses")])
def test_a_wrong_key_or_model_is_said_at_start(status: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        against(Server(["probe", (status, "no")]), one)


@pytest.mark.parametrize("url", [None, "localhost:8000"])
def test_a_base_url_is_needed(url: str | None) -> None:
    with pytest.raises(UsageError, match="--base-url"):
        OpenAIBackend(BackendConfig("openai", "m", base_url=url))


def test_closed_is_dead() -> None:
    backend = OpenAIBackend(BackendConfig("openai", "m", base_url="http://localhost/v1"))
    with pytest.raises(EngineDeadError):
        asyncio.run(one(backend))


@pytest.mark.parametrize("text", ["<image>", "</s>", "<|im_start|>", "[INST] x", "<<SYS>>", "<｜end▁of▁sentence｜>"])
def test_special_strings_are_broken_and_counted(text: str) -> None:
    changed, times = neutralise(f"a {text} b")
    assert times == 1
    assert text not in changed
    assert changed.replace(JOINER, "") == f"a {text} b"


@pytest.mark.parametrize("text", ["a < b > c", "<b>bold</b>", "{} [1] <http://x>", "x</so>"])
def test_other_text_is_left_alone(text: str) -> None:
    assert neutralise(text) == (text, 0)


def test_neutralised_texts_are_recorded() -> None:
    server = Server()

    async def talk(backend: OpenAIBackend) -> int:
        await backend.generate([Message("user", "x <image> </s>")], Sampling(4))
        return backend.stats().neutralised

    assert against(server, talk) == 2
    assert "<image>" not in json.dumps(server.seen)


def test_pictures_that_servers_would_see_otherwise_are_prepared() -> None:
    from PIL import Image

    turned = picture(2, (40, 20), "JPEG")
    buffer = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(BytesIO(turned.data)) as image:
        image.save(buffer, "JPEG", exif=exif)
    rotated = type(turned)(buffer.getvalue(), "0" * 64, 40, 20, "JPEG")
    sent = data_url(rotated, "processor")
    assert sent.startswith("data:image/png;base64,")
    assert Image.open(BytesIO(base64.b64decode(sent.partition(",")[2]))).size == (20, 40)
    assert Image.open(BytesIO(base64.b64decode(data_url(turned, "pad").partition(",")[2]))).size == (40, 40)
    assert data_url(turned, "processor").startswith("data:image/jpeg;base64,")
