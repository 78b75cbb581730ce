"""A random-weight LLaVA with LLaVA-1.5's picture (336 pixels, 576 tokens) and a small language model, and its rows."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

PIXELS, PATCH = 336, 14


def make_model(folder: Path, seed: int = 0) -> Path:
    """About 12 M parameters: 576 picture tokens a prompt, as LLaVA-1.5 has; what it says means nothing."""
    import torch

    from engine.tiny import WORLD_FILE
    from engine.tiny import model as tiny
    from engine.tiny.world import load_world

    if (folder / "config.json").is_file():
        return folder
    world = load_world(WORLD_FILE)
    world = replace(world, drawing=replace(world.drawing, size=PIXELS, patch=PATCH))
    shape = tiny.Shape(
        text_width=384, text_layers=6, text_inner=1024, vision_width=192, vision_layers=6, vision_inner=768, head=64
    )
    torch.manual_seed(seed)
    tokenizer = tiny.make_tokenizer([concept.name for concept in world.concepts] * 50, shape)
    tiny.save(tiny.make_model(world, tokenizer, shape), tiny.make_processor(world, tokenizer), folder)
    return folder


def make_rows(folder: Path, rows: int, seed: int = 0) -> Path:
    """VLGuard's shape: two queries on a picture, about 12 words each; pictures of noise, no two alike."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    dice = random.Random(seed)
    words = ("picture", "people", "house", "describe", "today", "near", "old", "street", "sign", "colour", "about")
    lines = []
    for number in range(rows):
        name = f"{number // 2:05d}.png"
        if number % 2 == 0:
            small = Image.frombytes("RGB", (24, 24), dice.randbytes(24 * 24 * 3))
            small.resize((PIXELS, PIXELS), Image.Resampling.NEAREST).save(folder / name)
        lines.append({"text": " ".join(dice.choices(words, k=12)) + f" ({number})?", "image": name})
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
