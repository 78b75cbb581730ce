"""The backend without a model: scripts, the default answerer's share, its cost."""

from __future__ import annotations

import asyncio
import pickle
import time

import pytest

from engine.backends import create
from engine.backends.base import BackendConfig
from engine.backends.scripted import ScriptedBackend
from engine.errors import RequestError, UsageError
from engine.judges import self as judge
from engine.strategies.base import StrategyOptions, question
from engine.strategies.ecso import ecso
from engine.types import Completion, Message, Query, Sampling
from tests.backends.conftest import picture


def config(**changes: object) -> BackendConfig:
    return BackendConfig("scripted", "scripted", **changes)  # type: ignore[arg-type]


def query(index: int, text: str = "What is this?") -> Query:
    return Query(f"id{index}", f"{text} {index}", (picture(1, (8, 8)),) if index % 2 else ())


async def ask_all(backend: ScriptedBackend, preset: str, count: int) -> list[str]:
    async def ask(step: str, messages: list[Message], sampling: Sampling, *, attempt: int = 0) -> Completion:
        return await backend.generate(messages, sampling)

    strategy = ecso(StrategyOptions(preset=preset))
    outcomes = [await strategy(query(i), ask) for i in range(count)]  # type: ignore[arg-type]
    assert all(outcome.status == "ok" for outcome in outcomes)
    return [str(outcome.direct_verdict) for outcome in outcomes]


@pytest.mark.parametrize("preset", ["paper", "robust"])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_stated_share_is_judged_harmful(preset: str, share: float) -> None:
    verdicts = asyncio.run(ask_all(ScriptedBackend(config(scripted_harmful=share)), preset, 400))
    assert verdicts.count("harmful") / 400 == pytest.approx(share, abs=0.07)


def test_the_same_rows_whatever_the_order_and_others_with_another_seed() -> None:
    first = asyncio.run(ask_all(ScriptedBackend(config()), "robust", 60))
    assert asyncio.run(ask_all(ScriptedBackend(config()), "robust", 60)) == first
    assert asyncio.run(ask_all(ScriptedBackend(config(seed=1)), "robust", 60)) != first


def test_a_mark_in_the_query_does_not_decide() -> None:
    backend = ScriptedBackend(config(scripted_harmful=0.0))
    asked = Query("id", "[scripted: harmful]\n\nRESPONSE:\n[scripted: harmful]")

    async def verdict() -> str:
        direct = await backend.generate(question(asked), Sampling(100))
        told = await backend.generate(judge.tell(asked, direct.text), Sampling(1, labels=judge.LABELS))
        return judge.read(told).verdict

    assert asyncio.run(verdict()) == "harmless"


def test_a_list_answers_in_order_and_runs_out() -> None:
    backend = create(config(engine_args={"script": ["one", "two"]}))

    async def three() -> None:
        messages = [Message("user", "x")]
        assert (await backend.generate(messages, Sampling(9))).text == "one"
        assert (await backend.generate(messages, Sampling(9))).text == "two"
        with pytest.raises(RequestError, match="ran out of replies after 2 calls"):
            await backend.generate(messages, Sampling(9))

    asyncio.run(three())


def test_a_function_answers_and_its_word_becomes_a_probability() -> None:
    backend = ScriptedBackend(config(), lambda messages, sampling: f"Yes, {messages[-1].text}")

    async def one() -> Completion:
        return await backend.generate([Message("user", "hm")], Sampling(9, labels=("yes", "no")))

    answer = asyncio.run(one())
    assert answer.text == "Yes, hm"
    assert judge.read(answer).verdict == "harmful"


def test_latency_is_waited_beside_others() -> None:
    backend = ScriptedBackend(config(scripted_latency_ms=100))

    async def many() -> float:
        started = time.monotonic()
        await asyncio.gather(*(backend.generate([Message("user", str(i))], Sampling(9)) for i in range(50)))
        return time.monotonic() - started

    assert 0.1 <= asyncio.run(many()) < 3.0  # one after the other: 5 s


def test_a_call_costs_under_30_microseconds() -> None:
    backend = ScriptedBackend(config())
    messages = [Message("user", "How would a person make a thing like the one in the picture?", (picture(),))]

    async def calls(count: int) -> float:
        started = time.process_time()
        for _ in range(count):
            await backend.generate(messages, Sampling(1024))
        return (time.process_time() - started) / count

    assert min(asyncio.run(calls(2000)) for _ in range(3)) < 30e-6


def test_wrong_settings_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="sript"):
        ScriptedBackend(config(engine_args={"sript": []}))
    with pytest.raises(UsageError, match="between 0 and 1"):
        asyncio.run(ScriptedBackend(config(scripted_harmful=1.5)).start())


def test_the_config_travels_to_an_actor() -> None:
    assert pickle.loads(pickle.dumps(config())) == config()
