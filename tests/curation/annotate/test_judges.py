"""Each judge over the scripted backend, or a real local server; what its version stands for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backends import BackendConfig
from engine.backends.scripted import ScriptedBackend
from engine.errors import RequestError, UsageError
from engine.judges import JUDGES, JudgeOptions, make
from engine.judges.base import Judged
from engine.judges.embedding import Client, vector
from engine.judges.planning import AnnotateConfig, check, plan_judge, split_name
from engine.types import Completion, Message, Query, Sampling
from tests.curation.annotate.conftest import HARMFUL, HARMLESS, picture

QUERY = Query("ab" * 32, "How is a pie flung?", (picture(1),))
SCRIPTED = JudgeOptions(BackendConfig("scripted", "scripted"), "m@1 scripted")
KEY = "sk-very-secret-0123456789"


def judged(name: str, text: str, script: Any = None, options: JudgeOptions = SCRIPTED) -> Judged:
    backend = ScriptedBackend(options.backend or BackendConfig("scripted", "scripted"), script)
    ask = make(name, options).open(backend)
    return asyncio.run(ask(QUERY, text))  # type: ignore[arg-type]


def test_harm_reads_probabilities() -> None:
    bad, good = judged("harm", HARMFUL), judged("harm", HARMLESS)
    assert (bad.verdict, good.verdict) == ("harmful", "harmless")
    assert bad.p is not None
    assert good.p is not None
    assert bad.p > 0.9 > 0.1 > good.p
    assert (bad.text, good.text) == ("Yes", "No")


def test_harm_shows_query_response_and_picture() -> None:
    seen: list[Message] = []

    def script(messages: Any, sampling: Sampling) -> str:
        seen.extend(messages)
        return "no"

    judged("harm", "the response", script)
    assert QUERY.text in seen[0].text
    assert "the response" in seen[0].text
    assert seen[0].pictures == QUERY.pictures


@pytest.mark.parametrize(
    ("replies", "verdict"),
    [
        (["perhaps", "Yes, it is."], "harmful"),
        (["perhaps", "No."], "harmless"),
        (["perhaps", "I would rather talk of pies."], "unknown"),
    ],
)
def test_without_probabilities_the_text_is_read(replies: list[str], verdict: str) -> None:
    """A backend that gives none is asked again for a few more words."""
    calls = iter(replies)

    def script(messages: Any, sampling: Sampling) -> Completion:
        return Completion(next(calls), "stop", "0" * 64)

    found = judged("harm", "x", script)
    assert (found.verdict, found.p, found.text) == (verdict, None, replies[1])


def test_refusal_llm() -> None:
    assert judged("refusal_llm", "No.", lambda *_: "Yes").verdict == "refused"
    assert judged("refusal_llm", "Like this.", lambda *_: "No").verdict == "answered"
    assert judged("refusal_llm", "?", lambda *_: "Well").verdict == "unknown"


def test_a_query_with_braces_stays_text() -> None:
    seen: list[str] = []
    judged("refusal_llm", "{query} {response}", lambda messages, _: seen.append(messages[0].text) or "no")
    assert "REPLY:\n{query} {response}\n" in seen[0]


def test_refusal_by_phrases_needs_no_model() -> None:
    no = judged("refusal", "I'm sorry, but I can't help with that.", options=JudgeOptions())
    yes = judged("refusal", "Put the pie on a plate and wait.", options=JudgeOptions())
    assert (no.verdict, yes.verdict) == ("refused", "answered")
    assert no.text
    assert yes.text is None


@pytest.mark.parametrize("name", ["harm", "refusal_llm", "embedding"])
def test_a_model_judge_without_a_model_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        make(name, JudgeOptions())


def test_a_misspelt_judge() -> None:
    with pytest.raises(UsageError, match="did you mean refusal"):
        make("refusl", JudgeOptions())
    on_a_run = {"harm", "refusal", "refusal_llm", "embedding"}
    assert on_a_run | {"keywords", "llm", "fastchat", "grade", "world"} <= set(JUDGES)


def test_the_version_says_what_can_change_a_verdict() -> None:
    def version(**flags: Any) -> str:
        config = AnnotateConfig("run", ("harm",), backend="scripted", **flags)
        return plan_judge(config, "harm", {"run_id": "r", "files": []})[1].key.version

    same = {version(), version(workers=3), version(max_error_rate=0.1), version(force=True)}
    assert len(same) == 1
    other = {version(threshold=0.4), version(picture_prep="pad"), version(engine_arg={"capacity": 3})}
    assert len(other | same) == 4


@pytest.mark.parametrize(
    "flags",
    [
        {"judge": ()},
        {"field": "caption"},
        {"workers": 0},
        {"threshold": 1.5},
    ],
)
def test_flags_that_make_no_sense(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check(AnnotateConfig(**{"run": "r", "judge": ("refusal",), **flags}))


def test_a_response_judge_does_not_judge_queries() -> None:
    with pytest.raises(UsageError, match="judges responses"):
        plan_judge(AnnotateConfig("r", ("refusal",), field="query"), "refusal", {"run_id": "r", "files": []})


@pytest.mark.parametrize("given", ["", "Harm", "a-b", "x=", "../x=y", "=f"])
def test_names_that_are_none(given: str) -> None:
    with pytest.raises(UsageError):
        split_name(given)
    assert split_name("embedding=a/b=c.parquet") == ("embedding", "a/b=c.parquet")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_vectors_are_read(values: list[float]) -> None:
    assert vector(json.dumps({"data": [{"embedding": values}]})) == values


@given(
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(['{"data": []}', '{"data": [{"embedding": []}]}', '{"data": [{"embedding": [NaN]}]}', "[1]"]),
        st.recursive(st.none() | st.booleans() | st.text(max_size=3), st.lists, max_leaves=5).map(json.dumps),
    )
)
def test_what_is_no_vector_is_none(body: str) -> None:
    assert vector(body) is None


def embed(script: list[tuple[int, str]], text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[Any]]:
    """One text through a real server that answers from the script."""
    web = pytest.importorskip("aiohttp.web")
    monkeypatch.setenv("PIE_KEY", KEY)
    seen: list[Any] = []

    async def answer(request: Any) -> Any:
        seen.append((await request.json(), request.headers["Authorization"]))
        status, body = script[min(len(seen), len(script)) - 1]
        return web.Response(status=status, text=body, headers={"Retry-After": "0"})

    async def go() -> list[float]:
        app = web.Application()
        app.router.add_post("/v1/embeddings", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        config = BackendConfig("openai", "m", base_url=f"http://127.0.0.1:{port}/v1/", api_key_env="PIE_KEY")
        client = Client(config)
        try:
            return await client.embed(text)
        finally:
            await client.close()
            await runner.cleanup()

    return asyncio.run(go()), seen


def test_the_embedding_server_is_asked_again_when_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    good = json.dumps({"data": [{"embedding": [0.5, -1]}]})
    found, seen = embed([(503, "busy"), (200, "{}"), (200, good)], "a pie", monkeypatch)
    assert found == [0.5, -1.0]
    assert len(seen) == 3
    assert seen[0] == ({"model": "m", "input": "a pie", "encoding_format": "float"}, f"Bearer {KEY}")


def test_a_refusing_server_is_told_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match=r"401.*<api key>") as caught:
        embed([(401, f"no such key {KEY}")], "a pie", monkeypatch)
    assert KEY not in str(caught.value)
