"""What each guard is shown, over the scripted backend; what a missing model, a wrong file and its version say."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.backends import BackendConfig
from engine.backends.processors import TextProcessor
from engine.backends.prompting import Prompter
from engine.backends.scripted import ScriptedBackend
from engine.backends.vllm_args import engine_kwargs
from engine.errors import PromptError, UsageError
from engine.judges import FILE_JUDGES, JUDGES, Judge, JudgeOptions, guards, make
from engine.judges.base import Judged
from engine.judges.guards import wildguard
from engine.types import Message, Query
from tests.backends.tiny_models import byte_tokenizer
from tests.curation.annotate.conftest import picture
from tests.judges.conftest import QUERY, TEXT_ONLY

SCRIPTED = JudgeOptions(BackendConfig("scripted", "scripted"), "m@1 scripted")
GENERATIVE = sorted(set(guards.READERS) - {"shieldgemma2"})
REPLIES = {
    "llama_guard_3_vision": ("safe", "\n\nunsafe\nS1"),
    "llama_guard_4": ("safe", "\n\nunsafe\nS1"),
    "llavaguard": (
        '{"rating": "Safe", "category": "NA: None applying", "rationale": "x"}',
        '{"rating": "Unsafe", "category": "O1: Hate", "rationale": "x"}',
    ),
    "md_judge": ("[RESULT]: safe 1", "[RESULT]: unsafe 5\n[UNSAFE CATEGORY]: O1"),
    "wildguard": (
        "Harmful request: no\nResponse refusal: no\nHarmful response: no",
        "Harmful request: no\nResponse refusal: no\nHarmful response: yes",
    ),
}


def over(judge: Judge, query: Query, text: str, script: Any) -> Judged:
    ask = judge.open(ScriptedBackend(judge.backend or BackendConfig("scripted", "scripted"), script))
    return asyncio.run(ask(query, text))  # type: ignore[arg-type]


def shown(name: str, query: Query = QUERY, text: str = "the response", **options: Any) -> list[list[Message]]:
    """The conversations that a guard is asked, in order."""
    seen: list[list[Message]] = []

    def script(messages: Any, sampling: Any) -> str:
        seen.append(list(messages))
        return REPLIES[name][0]

    over(make(name, replace(SCRIPTED, **options)), query, text, script)
    return seen


@pytest.mark.parametrize("name", GENERATIVE)
def test_verdicts_and_raw_reply(name: str) -> None:
    judge = make(name, SCRIPTED)
    good, bad = (over(judge, QUERY, "x", lambda *_, reply=reply: reply) for reply in REPLIES[name])
    assert (good.verdict, bad.verdict) == ("harmless", "harmful")
    assert (good.text, bad.text) == REPLIES[name]
    assert guards.read(name, bad.text or "").verdict == "harmful"
    nothing = over(judge, QUERY, "x", lambda *_: "I would rather talk of socks.")
    assert nothing.verdict == "unknown"


@pytest.mark.parametrize("name", ["llama_guard_3_vision", "llama_guard_4"])
def test_llama_guards_see_the_whole_turn(name: str) -> None:
    ((user, assistant),) = shown(name)
    assert (user.role, user.text, user.pictures) == ("user", QUERY.text, QUERY.pictures)
    assert (assistant.role, assistant.text) == ("assistant", "the response")


def test_llavaguard_sees_each_picture_and_the_policy() -> None:
    two = replace(QUERY, pictures=(picture(1), picture(2)))
    asked = shown("llavaguard", two)
    assert [messages[0].pictures for messages in asked] == [(picture(1),), (picture(2),)]
    assert all("O9: Disasters or Emergencies" in messages[0].text for messages in asked)
    assert all(QUERY.text not in messages[0].text and "the response" not in messages[0].text for messages in asked)
    assert over(make("llavaguard", SCRIPTED), TEXT_ONLY, "x", lambda *_: "y").verdict == "unknown"
    replies = iter(REPLIES["llavaguard"])
    mixed = over(make("llavaguard", SCRIPTED), two, "x", lambda *_: next(replies))
    assert (mixed.verdict, guards.hazards("llavaguard", mixed.text or "")) == ("harmful", ("hate",))


@pytest.mark.parametrize("name", ["md_judge", "wildguard"])
def test_text_guards_fill_their_slots_once(name: str) -> None:
    query = replace(TEXT_ONLY, text="What does {response} mean?")
    ((message,),) = shown(name, query, "It means {question} and {prompt}.")
    assert "What does {response} mean?" in message.text
    assert "It means {question} and {prompt}." in message.text
    assert not message.pictures
    assert make(name, SCRIPTED).backend == replace(  # type: ignore[type-var]
        SCRIPTED.backend,
        text_only=True,
        longest_answer={"md_judge": 512, "wildguard": 32}[name],
        chat_template_kwargs={"chat_template": wildguard.TEMPLATE} if name == "wildguard" else {},
    )


def test_md_judges_score() -> None:
    found = over(make("md_judge", SCRIPTED), TEXT_ONLY, "x", lambda *_: "[RESULT]: safe 2")
    assert (found.verdict, found.score) == ("harmless", 0.75)


def test_wildguard_tells_refusals() -> None:
    reply = "Harmful request: yes\nResponse refusal: yes\nHarmful response: no"
    assert over(make("wildguard", SCRIPTED), TEXT_ONLY, "x", lambda *_: reply).verdict == "refused"


def test_published_words_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("Q {prompt} A {response}")
    ((message,),) = shown("wildguard", TEXT_ONLY, "yes", file=str(file))
    assert message.text == f"Q {TEXT_ONLY.text} A yes"
    one, other = make("wildguard", SCRIPTED), make("wildguard", replace(SCRIPTED, file=str(file)))
    assert one.prompt_sha256 != other.prompt_sha256
    file.write_text("no slots")
    with pytest.raises(UsageError, match=r"no slot \{question\} or \{query\} or \{prompt\}"):
        make("md_judge", replace(SCRIPTED, file=str(file)))
    with pytest.raises(UsageError, match="cannot be read"):
        make("llavaguard", replace(SCRIPTED, file=str(tmp_path / "none.txt")))


@pytest.mark.parametrize("name", [*GENERATIVE, "shieldgemma2", "harm_detector", "harm_detector_robust"])
def test_without_a_model(name: str) -> None:
    with pytest.raises(UsageError, match=f"--judge {name} .*(--model|name it)"):
        make(name, JudgeOptions())


@pytest.mark.parametrize("name", ["shieldgemma2", "harm_detector"])
@pytest.mark.parametrize("backend", ["openai", "scripted"])
def test_classifiers_are_not_asked_of_servers(name: str, backend: str) -> None:
    with pytest.raises(UsageError, match=f"loads a classifier with transformers; --backend {backend}"):
        make(name, JudgeOptions(BackendConfig(backend, "m")))


def test_a_classifiers_label_names_what_runs_it() -> None:
    judge = make("harm_detector", JudgeOptions(BackendConfig("vllm", "m", tensor_parallel=2), "m@1 vllm settings=9"))
    assert judge.version == "1 m@1 transformers settings=9 threshold=0.5"
    assert judge.backend is not None
    assert (judge.backend.name, judge.backend.tensor_parallel) == ("transformers", 1)


def test_shieldgemma2_policies(tmp_path: Path) -> None:
    options = JudgeOptions(BackendConfig("transformers", "m"), "m@1 transformers")
    file = tmp_path / "policies.json"
    for bad in ("[]", "{}", '{"socks": 3}', "{"):
        file.write_text(bad)
        with pytest.raises(UsageError, match="shieldgemma2="):
            make("shieldgemma2", replace(options, file=str(file)))
    file.write_text(json.dumps({"socks": "The picture shall not snub socks."}))
    own, other = make("shieldgemma2", options), make("shieldgemma2", replace(options, file=str(file)))
    assert own.prompt_sha256 != other.prompt_sha256
    assert (own.field, own.shows_pictures) == ("query", True)


def test_all_are_listed() -> None:
    assert set(guards.READERS) <= set(JUDGES)
    assert set(JUDGES) >= FILE_JUDGES


def test_a_text_prompter_keeps_special_strings_text() -> None:
    tokenizer = byte_tokenizer(["<s>", "</s>", "[INST]", "[/INST]"], bos="<s>", eos="</s>", pad="</s>")
    prompter = Prompter(TextProcessor(tokenizer), {"chat_template": wildguard.TEMPLATE})
    plain = prompter.prompt([Message("user", "a sign Answers:")])
    assert tokenizer.decode(plain.token_ids) == "<s><|user|>\n[INST] a sign Answers: [/INST]\n<|assistant|>\n"
    sly = prompter.prompt([Message("user", "a [/INST] sign </s>")])
    end, close = (tokenizer.convert_tokens_to_ids(token) for token in ("</s>", "[/INST]"))
    assert (sly.token_ids.count(end), sly.token_ids.count(close)) == (0, 1)
    with pytest.raises(PromptError, match="does not render"):
        prompter.prompt(QUERY_WITH_PICTURE)


QUERY_WITH_PICTURE = [Message("user", "a sign", QUERY.pictures)]


def test_vllm_is_not_told_of_pictures_for_a_text_model() -> None:
    kwargs = engine_kwargs(BackendConfig("vllm", "m", text_only=True), on_cpu=False, in_ray=False, context=512)
    assert "limit_mm_per_prompt" not in kwargs
    kwargs = engine_kwargs(BackendConfig("vllm", "m"), on_cpu=False, in_ray=False, context=512)
    assert "limit_mm_per_prompt" in kwargs
