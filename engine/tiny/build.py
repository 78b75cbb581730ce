"""Make a tiny model of a world from nothing.

    python -m engine.tiny.build --out DIR [--world FILE] [--seed N] [--steps-scale X | --quick]

First the tower alone learns to name what is drawn; then the projector learns along, to put it where its words stand in
the embedding table; then the tower is frozen, and projector and language model learn the world; at last they learn it
again with words and sentences out of place and queries made of two, so that unseen wordings are read too.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine import allocator
from engine.tiny import MODEL_DIR, WORLD_FILE
from engine.tiny.world import World, load_world

TOWER_STEPS, ANCHOR_STEPS, LANGUAGE_STEPS, STIRRED_STEPS = 1800, 500, 2600, 600
STIRRED_RATE, STIRRED_SHARE, STIRRED_SEED = 1e-3, 0.5, 100
QUICK_SCALE = 0.003


@dataclass(frozen=True)
class Plan:
    """How long a build trains."""

    tower_steps: int = TOWER_STEPS
    anchor_steps: int = ANCHOR_STEPS
    language_steps: int = LANGUAGE_STEPS
    stirred_steps: int = STIRRED_STEPS

    def scaled(self, scale: float) -> "Plan":
        """The same plan, longer or shorter."""
        steps = (self.tower_steps, self.anchor_steps, self.language_steps, self.stirred_steps)
        return Plan(*(max(2, round(count * scale)) for count in steps))


def build(world: World, out: Path, seed: int = 0, plan: Plan | None = None, threads: int = 1) -> Path:
    """Train and save; returns the folder. With one thread the same seed gives the same weights, byte for byte, on CPUs
    of one kind; with another number, sums are added in another order, which makes another model."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import torch

    from engine.tiny.corpus import tokenizer_texts
    from engine.tiny.model import Shape, count_parameters, make_model, make_processor, make_tokenizer, save
    from engine.tiny.train import train_language
    from engine.tiny.vision import Anchor, train_tower

    plan = plan or Plan()
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:6.0f} s] {text}", flush=True)

    torch.set_num_threads(threads)
    # A model that is sure of its words has gradients of 1e-39 for all others: each such number costs a hundred cycles,
    # and is lost in the next sum. From the shipped weights a step took 1.03 s with them, 0.78 s without.
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(tokenizer_texts(world), Shape())
    model = make_model(world, tokenizer, Shape())
    # On CPU the fused attention's backward pass in half precision took three quarters of a tower step.
    model.set_attn_implementation("eager")
    size = f"{len(tokenizer)} tokens, {count_parameters(model):,} parameters"
    say(f"world {world.name!r}: {len(world.concepts)} concepts, {size}")
    anchor = Anchor(world, model, tokenizer)
    train_tower(world, model, None, plan.tower_steps, seed, say)
    read = train_tower(world, model, anchor, plan.anchor_steps, seed, say)
    say("tower on unseen drawings: " + " ".join(f"{name} {value:.3f}" for name, value in read.items()))
    train_language(world, model, tokenizer, anchor, plan.language_steps, seed, say)
    train_language(
        world,
        model,
        tokenizer,
        anchor,
        plan.stirred_steps,
        seed + STIRRED_SEED,
        say,
        rate=STIRRED_RATE,
        stirred=STIRRED_SHARE,
    )
    save(model, make_processor(world, tokenizer), out)
    made = {
        "world": world.name,
        "seed": seed,
        "tower_steps": plan.tower_steps,
        "anchor_steps": plan.anchor_steps,
        "language_steps": plan.language_steps,
        "stirred_steps": plan.stirred_steps,
        "tower": read,
    }
    (out / "build.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    say(f"saved to {out}")
    return out


def _again_with_jemalloc() -> None:
    """This command once more from its start: its allocator is chosen before a process begins."""
    wanted = allocator.environment(os.environ)
    if wanted:
        command = [sys.executable, "-m", "engine.tiny.build", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **wanted})


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m engine.tiny.build", description="Make a tiny model of a world.")
    parser.add_argument("--world", type=Path, default=WORLD_FILE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=MODEL_DIR)
    parser.add_argument("--steps-scale", type=float, default=1.0, help="share of the full number of steps")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that the machinery works")
    parser.add_argument("--threads", type=int, default=1, help="that compute; another process draws")
    args = parser.parse_args(argv)
    scale = QUICK_SCALE if args.quick else args.steps_scale
    build(load_world(args.world), args.out, args.seed, Plan().scaled(scale), args.threads)
    return 0


if __name__ == "__main__":
    _again_with_jemalloc()
    raise SystemExit(main())
