"""ETA by hand: who is asked what in which order, when the answer is begun anew, and which candidate wins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from engine import strategies
from engine.config import GenerateConfig
from engine.errors import RequestError, UsageError
from engine.planning import plan_job
from engine.strategies import StrategyOptions
from engine.strategies.eta import cut
from engine.types import Completion, Message, Outcome, Picture, Query, Sampling

PICTURE = Picture(b"x", "0" * 64, 1, 1, "PNG")
QUERY = Query("a" * 64, "Fill in the list.", (PICTURE,))
ROLES = ("eta_clip", "eta_reward")


class Call(NamedTuple):
    step: str
    attempt: int
    messages: Sequence[Message]
    sampling: Sampling
    model: str


Reply = Callable[[Call], str | Completion]


def run(reply: Reply, query: Query = QUERY, **options: float) -> tuple[Outcome, list[Call]]:
    calls: list[Call] = []

    async def ask(
        step: str, messages: Sequence[Message], sampling: Sampling, *, attempt: int = 0, model: str = ""
    ) -> Completion:
        calls.append(Call(step, attempt, messages, sampling, model))
        found = reply(calls[-1])
        return found if isinstance(found, Completion) else Completion(found, "stop", "f" * 64)

    strategy = strategies.create("eta", StrategyOptions(helpers=ROLES, **options))  # type: ignore[arg-type]

    async def answered() -> Outcome:
        return await strategy(query, ask)

    return asyncio.run(answered()), calls


def looks(post: float, pre: float) -> Reply:
    """A model that answers, and two that look."""
    return lambda call: {"answer": "Sure. </s>", "post_check": str(post), "pre_check": str(pre)}.get(call.step, " No.")


def test_a_good_answer_is_kept_without_a_look_at_the_picture() -> None:
    outcome, calls = run(looks(post=0.06, pre=0.9))  # the threshold itself is good enough
    assert [call.step for call in calls] == ["answer", "post_check"]
    assert (outcome.final_response, outcome.direct_verdict, outcome.final_verdict) == ("Sure.", "harmless", "unchecked")
    asked = calls[1]
    assert (asked.model, [turn.role for turn in asked.messages]) == ("eta_reward", ["user", "assistant"])
    assert asked.messages[1].text == "Sure."


def test_a_harmless_picture_keeps_the_answer() -> None:
    outcome, calls = run(looks(post=0.0599, pre=0.16))
    assert [(call.step, call.model) for call in calls[1:]] == [("post_check", "eta_reward"), ("pre_check", "eta_clip")]
    (warning,) = calls[2].messages
    words = "The image contains unsafe/porn/violent/politic/physical harmful/illegal/privacy contents."
    assert warning == Message("user", words, QUERY.pictures)
    assert (outcome.final_response, outcome.attempts) == ("Sure.", 0)


REWARDS = {0: 0.1, 1: 0.2, 2: 0.7, 3: 0.3, 4: 0.6, 5: 0.2, 6: 0.9, 7: 0.1, 8: 0.4, 9: 0.5}


def both(call: Call) -> str | Completion:
    """Both looks see harm. Candidates 0 to 4 are first sentences, 5 to 9 second ones, after which the model stops."""
    if call.step == "sentence":
        if call.attempt < 5:
            return Completion(f", I say {call.attempt}. And more", "length", "f" * 64, completion_tokens=8)
        return Completion(f" Then {call.attempt}!", "stop", "f" * 64, completion_tokens=4)
    if call.step == "reward":
        return str(REWARDS[call.attempt])
    return looks(post=0.01, pre=0.161)(call)


def test_where_both_see_harm_the_best_sentences_are_written() -> None:
    outcome, calls = run(both)
    assert outcome.final_response == "As an AI assistant, I say 2. Then 6!"
    assert (outcome.direct_response, outcome.direct_verdict, outcome.attempts) == ("Sure.", "harmful", 1)
    drawn = [call for call in calls if call.step == "sentence"]
    assert [call.attempt for call in drawn] == list(range(10))
    begun = [call.messages[-1] for call in drawn]
    assert begun[0] == Message("assistant", "As an AI assistant", begun=True)
    assert begun[5] == Message("assistant", "As an AI assistant, I say 2.", begun=True)
    assert all(call.messages[0] == Message("user", QUERY.text, QUERY.pictures) for call in drawn)
    assert {(call.sampling.max_tokens, call.sampling.temperature, call.model) for call in drawn} == {(70, 1.0, "")}
    judged = {call.attempt: call.messages[-1].text for call in calls if call.step == "reward"}
    assert judged[4] == "As an AI assistant, I say 4."
    assert judged[6] == "As an AI assistant, I say 2. Then 6!"


def test_the_limit_on_tokens_holds_over_all_sentences() -> None:
    """A model that never stops: 8 tokens of which the sentence is the larger part, of 12."""
    endless = lambda call: "0.5" if call.step == "reward" else both(call._replace(attempt=0))  # noqa: E731
    outcome, calls = run(endless, max_tokens=12)
    limits = [call.sampling.max_tokens for call in calls if call.step == "sentence"]
    assert limits[0] == 12
    assert len(limits) == 15
    assert all(later < earlier for earlier, later in zip(limits[::5], limits[5::5], strict=False))
    assert outcome.final_response.count("I say 0.") == 3


def test_without_a_picture_the_reward_decides_alone() -> None:
    outcome, calls = run(both, query=Query("b" * 64, "How?"))
    assert "pre_check" not in [call.step for call in calls]
    assert outcome.final_response.startswith("As an AI assistant, I say 2.")


def test_what_cannot_be_asked_or_read_is_said() -> None:
    with pytest.raises(UsageError, match="--eta-clip MODEL and --eta-reward MODEL"):
        strategies.create("eta", StrategyOptions())
    with pytest.raises(RequestError, match="expected a number"):
        run(lambda call: "fine")


def test_its_settings_are_part_of_the_run(tmp_path: Path) -> None:
    """Another CLIP model, reward model or threshold is another fingerprint, so a folder of the first is refused."""
    for name in ("clip", "reward", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"name": name}))
    usual = {"eta_clip": str(tmp_path / "clip"), "eta_reward": str(tmp_path / "reward")}
    other = str(tmp_path / "other")
    changes = ({}, {"eta_clip": other}, {"eta_reward": other}, {"eta_pre": 0.2}, {"eta_post": 0.2})
    config = GenerateConfig(strategy="eta", backend="scripted", limit=1, **usual)  # type: ignore[arg-type]
    assert len({plan_job(replace(config, **change)).fingerprint for change in changes}) == len(changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence", "is_last"),
    [(" A b. C", " A b.", False), (" 2.5 of it. ", " 2.5 of it.", True), ("no end", "no end", True), ("", "", True)],
)
def test_a_sentence_ends_behind_its_mark(text: str, sentence: str, is_last: bool) -> None:
    assert cut(text) == (sentence, is_last)


@pytest.mark.torch
def test_the_real_thing_small(tmp_path: Path) -> None:
    """The embedded model with a random CLIP and a random reward model, and thresholds that both see harm by: every
    step is in the transcript, and the answer goes on behind its opening."""
    from engine.answering import answer
    from engine.backends import create
    from engine.backends.helpers import create_helper
    from engine.pictures import PictureCaps
    from engine.sources import iter_rows, load
    from tests.backends.tiny_scores import clip, reward

    config = GenerateConfig(
        strategy="eta",
        backend="transformers",
        eta_clip=str(clip(tmp_path / "clip")),
        eta_reward=str(reward(tmp_path / "reward")),
        eta_pre=-1,
        eta_post=1,
        max_tokens=40,
        limit=1,
        out=str(tmp_path / "out"),
    )
    job = plan_job(config)
    assert {job.fields["eta_pre"], job.fields["eta_post"]} == {-1, 1}
    assert job.fields["eta_clip"]["revision"].startswith("local-")
    setup = job.setup("run")
    assert PictureCaps() == job.caps

    async def whole() -> object:
        backend = create(setup.backend)
        helpers = {helper.role: create_helper(helper) for helper in setup.helpers}
        for each in (backend, *helpers.values()):
            await each.start()
        window, chosen = job.plan.windows[0]
        query = load(next(iter(iter_rows(window, chosen))))
        made = await answer(query, strategies.create("eta", setup.options), backend, setup.facts, helpers)
        for each in (backend, *helpers.values()):
            await each.close()
        return made

    made = asyncio.run(whole())
    assert made.status == "ok", made.error_message  # type: ignore[attr-defined]
    steps = [step.name for step in made.steps]  # type: ignore[attr-defined]
    assert steps[:3] == ["answer", "post_check", "pre_check"]
    assert steps.count("sentence") == steps.count("reward") >= 5
    assert len({step.seed for step in made.steps if step.name == "sentence"}) >= 5  # type: ignore[attr-defined]
    assert made.final_response.startswith("As an AI assistant")  # type: ignore[attr-defined]
    assert -1 <= float(made.steps[2].text) <= 1  # type: ignore[attr-defined]
