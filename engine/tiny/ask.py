"""Greedy answers of a model to many prompts at once, by transformers or by vLLM. The smallest helper for the check."""

import asyncio
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.backends import BackendConfig, create
from engine.pictures import PictureCaps, inspect
from engine.tiny.draw import Scene, draw
from engine.tiny.world import World
from engine.types import Message, Sampling


@dataclass(frozen=True)
class Prompt:
    """A user turn: text, and perhaps a picture of the world."""

    text: str
    scene: Scene | None = None


def render(processor: Any, prompt: Prompt) -> str:
    """The prompt through the model's own chat template, up to where the model speaks."""
    content = [{"type": "image"}] if prompt.scene is not None else []
    content.append({"type": "text", "text": prompt.text})
    return str(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))


def ask(
    model: Any, processor: Any, world: World, prompts: Sequence[Prompt], tokens: int = 40, batch: int = 64
) -> list[str]:
    """Greedy answers by transformers, in the order asked."""
    import torch

    processor.tokenizer.padding_side = "left"
    order = sorted(range(len(prompts)), key=lambda k: (prompts[k].scene is None, len(prompts[k].text)))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        # One call takes prompts with a picture or without one, never both.
        for with_picture in (True, False):
            rows = [k for k in part if (prompts[k].scene is not None) == with_picture]
            if not rows:
                continue
            pictures = [picture_of(world, prompts[k]) for k in rows] if with_picture else None
            texts = [render(processor, prompts[k]) for k in rows]
            inputs = processor(images=pictures, text=texts, padding=True, return_tensors="pt")
            with torch.inference_mode():
                out = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
            new = out[:, inputs["input_ids"].shape[1] :]
            for k, text in zip(rows, processor.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[k] = text.strip()
    return answers


def ask_vllm(folder: Path, world: World, prompts: Sequence[Prompt], tokens: int = 40) -> list[str]:
    """The same through the engine's own vLLM backend, all at once."""
    return asyncio.run(_ask_backend(BackendConfig("vllm", str(folder), longest_answer=tokens), world, prompts, tokens))


async def _ask_backend(config: BackendConfig, world: World, prompts: Sequence[Prompt], tokens: int) -> list[str]:
    backend = create(config)
    await backend.start()
    try:
        asked = [_message(world, prompt) for prompt in prompts]
        done = await asyncio.gather(*(backend.generate([message], Sampling(max_tokens=tokens)) for message in asked))
    finally:
        await backend.close()
    return [completion.text.strip() for completion in done]


def _message(world: World, prompt: Prompt) -> Message:
    if prompt.scene is None:
        return Message("user", prompt.text)
    encoded = io.BytesIO()
    picture_of(world, prompt).save(encoded, "PNG")
    return Message("user", prompt.text, (inspect(encoded.getvalue(), "drawn", PictureCaps()),))


def picture_of(world: World, prompt: Prompt) -> Any:
    """The picture of a prompt that has one."""
    if prompt.scene is None:
        raise ValueError("a prompt without a picture")
    return draw(world, prompt.scene.concept, prompt.scene.kind, prompt.scene.seed)[0]


_SPACE = re.compile(r"\s+")


def squeeze(text: str) -> str:
    """Lower case, single spaces: how texts are compared."""
    return _SPACE.sub(" ", text).strip().lower()
