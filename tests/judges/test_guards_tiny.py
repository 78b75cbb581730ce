"""Each generative guard over the transformers backend, on tiny random weights of its architecture.

The reply must be, letter by letter, what transformers alone writes for the same conversation: template, picture tokens,
cross-attention and batching pass through. Such a reply is noise, so the verdict is `unknown`. (MD-Judge's InternLM2 is
not in transformers; a Mistral with its template's shape stands in.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from engine.backends import create
from engine.errors import UsageError
from engine.judges import JudgeOptions, make
from engine.judges.guards import llama_guard
from engine.types import Query
from tests.curation.annotate.conftest import picture
from tests.judges.conftest import QUERY, TEXT_ONLY, ask_all, config

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
OTHER = replace(QUERY, pictures=(picture(33),), text="What is a table?")
ROWS = [(QUERY, "yes"), (TEXT_ONLY, "no"), (OTHER, "a much longer answer with the red sign")]


def llama4(folder: Path) -> Path:
    from tests.judges import tiny_vision

    return tiny_vision.llama4(folder)


def mllama(folder: Path) -> Path:
    from tests.judges import tiny_vision

    return tiny_vision.mllama(folder)


def alone(model: Path, rows: list[tuple[Query, str]], longest: int) -> list[str]:
    """What processor and model write, one conversation at a time."""
    from PIL import Image
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(model)
    loaded = AutoModelForImageTextToText.from_pretrained(model, dtype=torch.float32).eval()
    said = []
    for query, text in rows:
        shown: list[dict[str, str]] = [{"type": "image"} for _ in query.pictures]
        chat = [
            {"role": "user", "content": [*shown, {"type": "text", "text": query.text}]},
            {"role": "assistant", "content": [{"type": "text", "text": text}]},
        ]
        prompt = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        images = [Image.open(BytesIO(one.data)).convert("RGB") for one in query.pictures] or None
        batch = dict(processor(text=[prompt], images=images, return_tensors="pt", add_special_tokens=False))
        batch = {name: value.float() if value.is_floating_point() else value for name, value in batch.items()}
        with torch.inference_mode():
            made = loaded.generate(**batch, max_new_tokens=longest, do_sample=False)
        said.append(processor.tokenizer.decode(made[0][batch["input_ids"].shape[1] :], skip_special_tokens=True))
    return said


@pytest.mark.parametrize(("name", "model"), [("llama_guard_4", llama4), ("llama_guard_3_vision", mllama)])
def test_llama_guards(name: str, model: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    # Often enough that rows with and without a picture wait together, whichever the first batch takes.
    found = ask_all(make(name, JudgeOptions(config(folder), "m@1 transformers")), ROWS * 4)
    expected = alone(folder, ROWS, llama_guard.LONGEST)
    assert [judged.text for judged in found] == expected * 4
    assert {judged.verdict for judged in found} == {"unknown"}
    (blind,) = alone(folder, [(replace(OTHER, pictures=()), ROWS[2][1])], llama_guard.LONGEST)
    assert expected[2] != blind, "the picture counts"


def test_llavaguard(tmp_path: Path) -> None:
    from tests.backends.tiny_models import onevision

    folder = onevision(tmp_path / "model")
    judge = make("llavaguard", JudgeOptions(config(folder), "m@1 transformers"))
    assert judge.backend is not None
    short = replace(judge.backend, engine_args={"device": "cpu"})
    one, two, none = ask_all(replace(judge, backend=short), [(QUERY, "x"), (OTHER, "x"), (TEXT_ONLY, "x")])
    assert one.text
    assert one.text != two.text
    assert (one.verdict, none.verdict, none.text) == ("unknown", "unknown", "the row has no picture")


@pytest.mark.parametrize("name", ["md_judge", "wildguard"])
def test_text_guards(name: str, tmp_path: Path) -> None:
    """From text alone: a model without a processor; WildGuard's tokenizer has no chat template, it is given one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.strategies.prompts import fill
    from tests.judges import tiny

    folder = tiny.text_model(tmp_path / "model", CHATML if name == "md_judge" else None)
    file = tmp_path / "words.txt"
    file.write_text("Check by our policy.\nUser: {question}\nAgent: {response}\n\nAnswers:")
    options = JudgeOptions(config(folder), "m@1 transformers", file=str(file))
    found = ask_all(make(name, options), ROWS[1:3])
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    for (query, text), judged in zip(ROWS[1:3], found, strict=True):
        filled = fill(file.read_text(), question=query.text, response=text)
        if name == "wildguard":
            prompt = f"<|user|>\n[INST] {filled} [/INST]\n<|assistant|>\n"
        else:
            prompt = f"<|im_start|>user\n{filled}<|im_end|>\n<|im_start|>assistant\n"
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        with torch.inference_mode():
            made = model.generate(ids, max_new_tokens=make(name, options).backend.longest_answer, pad_token_id=2)
        assert judged.text == tokenizer.decode(made[0][ids.shape[1] :], skip_special_tokens=True)
        assert judged.verdict == "unknown"


def test_a_model_of_text_for_a_guard_of_pictures(tmp_path: Path) -> None:
    from tests.judges import tiny

    folder = tiny.text_model(tmp_path / "model", CHATML)
    judge = make("llama_guard_4", JudgeOptions(config(folder), "m@1 transformers"))
    with pytest.raises(UsageError, match="takes no pictures"):
        ask_all(judge, [(QUERY, "x")])


def test_several_pictures_for_llama_guard_3(tmp_path: Path) -> None:
    """Its template writes one picture; a prompt with more is refused before the model is asked (`unknown` in a run)."""
    import asyncio

    from engine.errors import PromptError

    folder = mllama(tmp_path / "model")
    one_picture = (
        (folder / "chat_template.jinja")
        .read_text()
        .replace(
            "{% if part['type'] == 'image' %}{{ '<|image|>' }}",
            "{% if part['type'] == 'image' %}{% if loop.first %}{{ '<|image|>' }}{% endif %}",
        )
    )
    (folder / "chat_template.jinja").write_text(one_picture)
    judge = make("llama_guard_3_vision", JudgeOptions(config(folder), "m@1 transformers"))

    async def run() -> Any:
        assert judge.backend is not None
        backend = create(judge.backend)
        await backend.start()
        try:
            return await judge.open(backend)(replace(QUERY, pictures=(picture(1), picture(2))), "x")
        finally:
            await backend.close()

    with pytest.raises(PromptError, match="wrote 1 pictures, not 2"):
        asyncio.run(run())
