"""Hyper-parameters by name, in one place. Every number is a flag too; a flag that is given wins over the preset.

`llava-lora` and `llava-full` are LLaVA-1.5's published numbers (haotian-liu/LLaVA, scripts/v1_5/finetune_task_lora.sh
and finetune_task.sh, Apache-2.0): rank 128, alpha 256, dropout 0.05 (the code's default), 2e-4 with the projector at
2e-5 (full: 2e-5 for all), cosine, warm-up 0.03, one epoch, global batch 128, length 2048, weight decay 0, padded
pictures, conversation `vicuna_v1`. What it trains with preferences is not published: DPO and KTO rates are our choice.
`tiny` is for the embedded model on two cores.

For `--task harm-detector` and `detoxifier`, `protector` is MLLM-Protector's published numbers (Apache-2.0,
pipilurj/MLLM-protector@390e326, scripts/train_harm_detector.sh and train_detoxifier.sh): rank 32 (detoxifier 128),
alpha 32, dropout 0.1, 2e-5, linear, 4 epochs, 4 rows a device (detector: two devices), length 512; `tiny` is for a
small text model that knows nothing yet, trained whole.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any

from engine.config import TrainConfig
from engine.errors import UsageError


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers of one training. Names as in `schemas/config.json#train`, where each is described."""

    peft: str
    lr: float
    projector_lr: float | None
    """0: frozen; None: as `lr`."""
    lora_r: int
    lora_alpha: float
    lora_dropout: float
    epochs: float
    batch_size: int
    device_batch: int
    scheduler: str
    warmup: float
    weight_decay: float
    adam_beta2: float
    max_grad_norm: float
    max_length: int
    picture_prep: str
    template: str | None
    """Chat template for models of type `llava` whose own has not the sentence that they were trained with."""
    gradient_checkpointing: bool
    beta: float = 0.1
    """DPO and KTO: how dear it is to leave the reference model."""
    preference_lr: float = 5e-6
    """Learning rate of DPO and KTO in place of `lr` (the projector's is 0 there)."""


LLAVA_LORA = Recipe(
    peft="lora",
    lr=2e-4,
    projector_lr=2e-5,
    lora_r=128,
    lora_alpha=256,
    lora_dropout=0.05,
    epochs=1,
    batch_size=128,
    device_batch=16,
    scheduler="cosine",
    warmup=0.03,
    weight_decay=0.0,
    adam_beta2=0.999,
    max_grad_norm=1.0,
    max_length=2048,
    picture_prep="pad",
    template="vicuna_v1",
    gradient_checkpointing=True,
)

PROTECTOR = replace(
    LLAVA_LORA,
    lr=2e-5,
    projector_lr=0.0,
    lora_r=32,
    lora_alpha=32,
    lora_dropout=0.1,
    epochs=4,
    batch_size=8,
    device_batch=4,
    scheduler="linear",
    warmup=0.0,
    max_length=512,
    picture_prep="processor",
    template=None,
)
TINY_TEXT = replace(
    PROTECTOR,
    peft="full",
    lr=1e-2,
    epochs=2.25,
    batch_size=16,
    device_batch=16,
    scheduler="cosine",
    warmup=0.1,
    adam_beta2=0.98,
    gradient_checkpointing=False,
)
TEXT_PRESETS = {
    "harm-detector": {"protector": PROTECTOR, "tiny": replace(TINY_TEXT, lr=4e-3, epochs=4)},
    "detoxifier": {"protector": replace(PROTECTOR, lora_r=128, batch_size=4), "tiny": TINY_TEXT},
}
"""Task -> its presets."""
PRESETS = {
    "llava-lora": LLAVA_LORA,
    "llava-full": replace(LLAVA_LORA, peft="full", lr=2e-5, projector_lr=None, preference_lr=5e-7),
    "tiny": replace(
        LLAVA_LORA,
        lr=1e-3,
        projector_lr=0.0,
        lora_r=8,
        lora_alpha=16,
        lora_dropout=0.0,
        epochs=3,
        batch_size=32,
        device_batch=32,
        warmup=0.05,
        picture_prep="processor",
        template=None,
        gradient_checkpointing=False,
        preference_lr=1e-4,
    ),
}


def resolve(config: TrainConfig) -> Recipe:
    """The preset with the flags that were given put over it. UsageError for an unknown preset or odd numbers."""
    presets = TEXT_PRESETS.get(config.task, PRESETS)
    usual = "llava-full" if config.peft == "full" else "llava-lora"
    name = config.preset or ("protector" if config.task in TEXT_PRESETS else usual)
    if name not in presets:
        near = get_close_matches(name, presets, 1)
        hint = f"did you mean {near[0]}?" if near else "unknown."
        raise UsageError(f"--preset {name}: {hint} There are {', '.join(presets)}")
    preset = presets[name]
    if config.objective in ("dpo", "kto"):
        preset = replace(preset, lr=preset.preference_lr, projector_lr=0.0)
    given: dict[str, Any] = {}
    for field in fields(Recipe):
        value = getattr(config, field.name, None)
        if value is not None:
            given[field.name] = value
    return replace(preset, **given)
