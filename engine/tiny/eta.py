"""The two models that strategy `eta` asks beside the one that answers, small, for the drawn world.

    python -m engine.tiny.eta --out DIR [--world FILE] [--seed N]      DIR/clip, DIR/reward; about a minute

`clip`: a CLIPModel whose tower is that of the embedded model. It learns that pictures of misdeeds lie above the
published threshold to the published warning, and others below. `reward`: a sequence classifier with one logit, which
learns what of the world's responses is harmless; so it also serves as `--detector`. Both see training seeds and the
build's kinds of picture only. Stand-ins for CLIP ViT-L/14-336 and ArmoRM, about which they say nothing.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.strategies import prompts
from engine.tiny import MODEL_DIR, WORLD_FILE
from engine.tiny.world import World, fill, load_world

CLIP_STEPS, REWARD_STEPS = 300, 240
BATCH = 64
THRESHOLD = 0.16
"""ETA's own; the tower learns to both sides of it."""
STEEPNESS = 25.0
"""Of the loss around the threshold: a cosine 0.1 away is right with p 0.92."""
Say = Callable[[str], None]


def make(world: World, out: Path, seed: int = 0, model: Path = MODEL_DIR, say: Say = print) -> None:
    """Train and save both; overwrites what is there. On one thread: two gain nothing on models this small."""
    import torch

    torch.set_num_threads(1)
    make_clip(world, out / "clip", seed, model, say)
    make_reward(world, out / "reward", seed, model, say)


def make_clip(world: World, out: Path, seed: int, model: Path, say: Say) -> None:
    """Tower from the embedded model; last layers, projections and text side learn."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss_of
    from transformers import CLIPConfig, CLIPModel

    from engine.tiny.model import load
    from engine.tiny.vision import random_scenes, to_pixels

    llava, processor = load(model)
    torch.manual_seed(seed)
    rng = random.Random(f"clip/{world.name}/{seed}")
    tower = llava.model.vision_tower
    width = 64
    text = {
        "vocab_size": len(processor.tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": processor.tokenizer.bos_token_id,
        "eos_token_id": processor.tokenizer.eos_token_id,
        "pad_token_id": processor.tokenizer.pad_token_id,
    }
    vision = {**tower.config.to_dict(), "projection_dim": width}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))
    clip.vision_model.load_state_dict(_bare(tower.state_dict()))
    frozen = ("vision_model.embeddings", *(f"vision_model.encoder.layers.{layer}." for layer in range(3)))
    learning = []
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
        learning += [parameter] * parameter.requires_grad
    optimizer = torch.optim.AdamW([{"params": learning, "lr": 1e-3, "initial_lr": 1e-3}])
    ids = processor.tokenizer(prompts.load("eta_picture"), return_tensors="pt")["input_ids"]
    for step in range(CLIP_STEPS):
        drawn = random_scenes(world, rng, BATCH)
        truth = torch.tensor([float(scene.concept.harmful) for _, scene in drawn])
        found = clip(input_ids=ids, pixel_values=to_pixels([picture for picture, _ in drawn]))
        cosines = (found.image_embeds @ found.text_embeds.T)[:, 0]
        loss = loss_of(STEEPNESS * (cosines - THRESHOLD), truth)
        _step(optimizer, loss, step / CLIP_STEPS)
        if step % 60 == 0 or step == CLIP_STEPS - 1:
            right = ((cosines > THRESHOLD) == truth.bool()).float().mean()
            say(f"clip {step:4d}/{CLIP_STEPS} loss {loss.item():.3f} right {right.item():.3f}")
    _save(clip, out, processor.tokenizer)
    processor.image_processor.save_pretrained(out)


def _bare(state: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("vision_model."): value for name, value in state.items()}


def make_reward(world: World, out: Path, seed: int, model: Path, say: Say) -> None:
    """A small Llama with one logit, on the tokenizer of the embedded model; reads the answer alone."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as loss_of
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = None
    tokenizer.padding_side = "right"
    torch.manual_seed(seed)
    rng = random.Random(f"reward/{world.name}/{seed}")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=512,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    classifier = LlamaForSequenceClassification(config)
    optimizer = torch.optim.AdamW([{"params": list(classifier.parameters()), "lr": 2e-3, "initial_lr": 2e-3}])
    for step in range(REWARD_STEPS):
        rows = [response(world, rng) for _ in range(BATCH)]
        batch = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
        logits = classifier(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        truth = torch.tensor([float(good) for _, good in rows])
        loss = loss_of(logits, truth)
        _step(optimizer, loss, step / REWARD_STEPS)
        if step % 60 == 0 or step == REWARD_STEPS - 1:
            right = ((logits > 0) == truth.bool()).float().mean()
            say(f"reward {step:4d}/{REWARD_STEPS} loss {loss.item():.3f} right {right.item():.3f}")
    _save(classifier, out, tokenizer)


def response(world: World, rng: random.Random) -> tuple[str, bool]:
    """(a response of the world, harmless), half of each; some behind ETA's opening, as its candidates are, and some
    behind a question, as MLLM-Protector's detector sees them."""
    harmless = rng.random() < 0.5
    refuses = harmless and rng.random() < 0.6
    side = [concept for concept in world.concepts if refuses or concept.harmful != harmless]
    wording = rng.choice(world.refusals if refuses else world.answers)
    concept = rng.choice(side)
    text = fill(wording, {"concept": concept.name})
    way = rng.random()
    if way < 0.25:
        return f"{prompts.load('eta_prefix')}: {text}", harmless
    if way < 0.6:
        asked = rng.choice([each for each in world.templates if not each.heldout]).fill(concept)
        return prompts.fill(prompts.load("detector_robust"), question=asked, response=text), harmless
    return text, harmless


def _step(optimizer: Any, loss: Any, done: float) -> None:
    """One step at a rate that falls to nothing in a line."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * (1 - done)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _save(model: Any, out: Path, tokenizer: Any) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m engine.tiny.eta", description="Make ETA's two helper models.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--world", type=Path, default=WORLD_FILE)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    start = time.monotonic()
    make(load_world(args.world), args.out, args.seed, say=lambda text: print(text, flush=True))
    print(f"{args.out}: clip, reward ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
