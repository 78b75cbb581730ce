"""One training step at LLaVA-1.5-7B's shapes with random weights: memory and tokens a second.

    python -m benchmarks.train_shapes [--rows 16] [--text 128] [--steps 4] [--small]

Needs a CUDA GPU and says so where there is none. `--small` takes the same code through small shapes on CPU; its
figures mean nothing. The recipe is the preset llava-lora: rank 128 on all linear layers of the language model, the
projector trained whole, bfloat16, gradient checkpointing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from engine.training import models
from engine.training.presets import PRESETS

PICTURE = 576
"""Picture tokens of LLaVA-1.5: 336 x 336 in patches of 14."""


def make(*, small: bool, device: str) -> Any:
    """LLaVA-1.5-7B (or a very small LLaVA) with random weights, bfloat16, on the device."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=64 if small else 1024,
        intermediate_size=128 if small else 4096,
        num_hidden_layers=3 if small else 24,
        num_attention_heads=2 if small else 16,
        image_size=336,
        patch_size=14,
        projection_dim=64 if small else 768,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=64 if small else 4096,
        intermediate_size=128 if small else 11008,
        num_hidden_layers=2 if small else 32,
        num_attention_heads=2 if small else 32,
        max_position_embeddings=4096,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=32000, vision_feature_layer=-2)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        model = LlavaForConditionalGeneration(config)
        torch.set_default_dtype(before)
    return model


def batch(rows: int, text: int, device: str) -> dict[str, Any]:
    """`rows` sequences: BOS, a picture, random text of which the second half is learned."""
    import torch

    words = torch.randint(3, 31000, (rows, text), device=device)
    ids = torch.cat([torch.ones_like(words[:, :1]), torch.full((rows, PICTURE), 32000, device=device), words], 1)
    labels = ids.clone()
    labels[:, : -(text // 2)] = -100
    pixels = torch.randn(rows, 3, 336, 336, device=device, dtype=torch.bfloat16)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "pixel_values": pixels}


def measure(rows: int, text: int, steps: int, *, small: bool, device: str) -> dict[str, float]:
    """Median seconds of a step after the first, tokens a second, and the peak of GPU memory in GiB."""
    import torch
    from peft import get_peft_model
    from trl.trainer.utils import add_fused_lm_head

    recipe = PRESETS["llava-lora"]
    model = make(small=small, device=device)
    parts = models.parts_of(model)
    add_fused_lm_head(model)
    learned = get_peft_model(
        model, models.lora_config(recipe, parts, projector_lora=False, base="random", revision=None)
    )
    for parameter in learned.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    learned.gradient_checkpointing_enable()
    learned.enable_input_require_grads()
    optimizer = torch.optim.AdamW(models.groups(learned, recipe, parts, set()))
    inputs = batch(rows, text, device)
    took = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            loss = learned(**inputs, fused_lm_head=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    seconds = sorted(took[1:])[steps // 2]
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else float("nan")
    return {"seconds": seconds, "tokens_per_s": rows * (1 + PICTURE + text) / seconds, "peak_gib": peak}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 where it was measured, or where there is no GPU to measure with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_shapes", description=__doc__)
    parser.add_argument("--rows", type=int, default=16, help="rows of one device batch")
    parser.add_argument("--text", type=int, default=128, help="text tokens of a row")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--small", action="store_true", help="small shapes on CPU: tries the code, measures nothing")
    asked = parser.parse_args(argv)
    import torch

    if not asked.small and not torch.cuda.is_available():
        print("no CUDA GPU here: LLaVA-1.5-7B's shapes need one (try the code with --small); nothing was measured")
        return 0
    device = "cpu" if asked.small else "cuda"
    found = measure(asked.rows, asked.text, asked.steps, small=asked.small, device=device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, small shapes"
    print(f"{name}: {asked.rows} rows of {1 + PICTURE + asked.text} tokens, LoRA 128, gradient checkpointing, bfloat16")
    print(f"{found['seconds']:.2f} s a step · {found['tokens_per_s']:,.0f} tokens/s · peak {found['peak_gib']:.1f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
