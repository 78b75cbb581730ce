"""The transformers backend: batches change nothing, other shapes pass, errors name their mend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.backends import create
from engine.backends.base import BackendConfig
from engine.errors import UsageError
from engine.strategies.base import StrategyOptions
from engine.strategies.ecso import ecso
from engine.types import Completion, Message, Query, Sampling
from tests.backends.conftest import Loop, picture

pytestmark = pytest.mark.torch
pytest.importorskip("torch")


def started(run: Loop, folder: Path, **args: Any) -> Any:
    backend = create(BackendConfig("transformers", str(folder), engine_args=args, scripted_harmful=0))
    run(backend.start())
    return backend


def prompts(count: int) -> list[list[Message]]:
    """Texts of many lengths, pictures of many shapes, some rows without one."""
    made = []
    for i in range(count):
        shown = () if i % 5 == 4 else (picture(i, (40 + 13 * (i % 6), 50 + 7 * (i % 4))),)
        made.append([Message("user", "What is it? " * (1 + i % 9) + str(i), shown)])
    return made


async def all_at_once(backend: Any, asked: list[list[Message]], sampling: Sampling) -> list[Completion]:
    return await asyncio.gather(*(backend.generate(messages, sampling) for messages in asked))


@pytest.mark.parametrize("name", ["llava", "onevision", "qwen2_5_vl"])
def test_a_batch_answers_as_single_rows_do(model_folder: Callable[[str], Path], run: Loop, name: str) -> None:
    backend = started(run, model_folder(name), batch_size=16)
    try:
        asked = prompts(24)
        alone = [run(backend.generate(messages, Sampling(20))) for messages in asked]
        together = run(all_at_once(backend, asked, Sampling(20)))
        assert [a.text for a in together] == [a.text for a in alone]
        labels = Sampling(1, labels=("yes", "no"))
        one = run(backend.generate(asked[0], labels)).label_logprobs
        many = run(all_at_once(backend, asked, labels))[0].label_logprobs
        assert many == pytest.approx(one, abs=1e-4)
    finally:
        run(backend.close())


def test_greedy_ids_equal_plain_generate(model_folder: Callable[[str], Path], run: Loop) -> None:
    """The same text as the model's own processor and generate, with nothing of ours between."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = model_folder("qwen2_5_vl")
    model, processor = AutoModelForImageTextToText.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    from engine.pictures import to_rgb

    shown = picture(5)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[text], images=[to_rgb(shown.data)], return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    backend = started(run, folder)
    try:
        ours = run(backend.generate([Message("user", "What is it?", (shown,))], Sampling(20)))
        assert ours.text == processor.decode(ids, skip_special_tokens=True)
        assert ours.prompt_tokens == inputs["input_ids"].shape[1]
    finally:
        run(backend.close())


def test_a_sample_depends_on_its_seed_alone(model_folder: Callable[[str], Path], run: Loop) -> None:
    backend = started(run, model_folder("llava"))
    try:
        messages = [Message("user", "Say something.", (picture(1),))]
        mine = Sampling(12, temperature=1.0, seed=5)
        alone = run(backend.generate(messages, mine)).text
        others = [Sampling(12, temperature=1.0, seed=i) for i in range(10, 18)]

        async def mixed() -> list[Completion]:
            return await asyncio.gather(*(backend.generate(messages, how) for how in [*others, mine, Sampling(12)]))

        got = [answer.text for answer in run(mixed())]
        assert got[-2] == alone
        assert len(set(got)) > 5
    finally:
        run(backend.close())


@pytest.mark.parametrize("name", ["onevision", "qwen2_5_vl"])
def test_other_shapes_pass_the_whole_chain(model_folder: Callable[[str], Path], run: Loop, name: str) -> None:
    backend = started(run, model_folder(name))
    try:
        steps = run(whole_chain(backend))
        assert {"answer", "tell", "caption", "safe_answer", "retell"} <= set(steps)
    finally:
        run(backend.close())


async def whole_chain(backend: Any) -> list[str]:
    """Both presets on one row; a random model's verdict is taken as harmful, so that every step is asked."""
    steps: list[str] = []

    async def ask(step: str, messages: Any, sampling: Sampling, *, attempt: int = 0) -> Completion:
        steps.append(step)
        answer = await backend.generate(messages, replace(sampling, max_tokens=min(16, sampling.max_tokens)))
        assert isinstance(answer, Completion)
        if not step.endswith("tell"):
            return answer
        told = {"yes": -0.1, "no": -3.0} if sampling.labels else None
        assert not sampling.labels or set(answer.label_logprobs or ()) == {"yes", "no"}
        return Completion("yes", answer.finish_reason, answer.prompt_sha256, label_logprobs=told)

    query = Query("id", "How is <image> this made?", (picture(2),))
    for preset in ("paper", "robust"):
        await ecso(StrategyOptions(preset=preset, retries=1))(query, ask)
    return steps


def test_two_pictures_in_one_question(model_folder: Callable[[str], Path], run: Loop) -> None:
    backend = started(run, model_folder("llava"))
    try:
        two = [Message("user", "Which is red?", (picture(1), picture(2)))]
        one = [Message("user", "Which is red?", (picture(1),))]
        assert (
            run(backend.generate(two, Sampling(4))).prompt_tokens
            > run(backend.generate(one, Sampling(4))).prompt_tokens
        )
    finally:
        run(backend.close())


def test_wrong_models_and_settings_say_what_to_do(
    tmp_path: Path, run: Loop, model_folder: Callable[[str], Path]
) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        started(run, tmp_path / "absent")
    with pytest.raises(UsageError, match="no readable model config"):
        started(run, tmp_path)
    with pytest.raises(UsageError, match="batchsize"):
        started(run, model_folder("llava"), batchsize=3)
