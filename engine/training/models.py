"""The model to train: which parts are its language model, projector and tower, what learns, and at which rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.training.presets import Recipe

PROJECTORS = ("multi_modal_projector", "visual.merger", "vision_tower.merger", "connector", "mm_projector")
"""Where the modules stand that turn what the tower sees into picture tokens (LLaVA's, Qwen-VL's, Idefics' …)."""
LANGUAGE = "language_model"


@dataclass(frozen=True, slots=True)
class Parts:
    """Names of modules, as `model.named_modules()` gives them. `linears`: of the language model, for LoRA."""

    language: str
    projector: str | None
    linears: tuple[str, ...]
    projector_linears: tuple[str, ...]


def load(model: str, revision: str | None, *, trust_remote_code: bool, dtype: str) -> Any:
    """Weights on the CPU. UsageError where they do not load as a vision-language model."""
    import torch
    from transformers import AutoModelForImageTextToText

    try:
        return AutoModelForImageTextToText.from_pretrained(
            model, revision=revision, trust_remote_code=trust_remote_code, dtype=getattr(torch, dtype)
        )
    except Exception as error:
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise UsageError(f"--model {model}: does not load as a vision-language model: {first}") from error


def parts_of(model: Any) -> Parts:
    """UsageError where the model has no language model under that name."""
    import torch

    names = dict(model.named_modules())
    language = next((name for name in names if name.rsplit(".", 1)[-1] == LANGUAGE), None)
    if language is None:
        raise UsageError(f"--model: {type(model).__name__} has no module {LANGUAGE}, which LoRA and freezing need")
    projector = next((name for last in PROJECTORS for name in names if f".{name}".endswith(f".{last}")), None)
    linears = [name for name, module in names.items() if isinstance(module, torch.nn.Linear)]
    return Parts(
        language,
        projector,
        tuple(name for name in linears if name.startswith(f"{language}.") and "lm_head" not in name),
        tuple(name for name in linears if projector is not None and name.startswith(f"{projector}.")),
    )


def lora_config(recipe: Recipe, parts: Parts, *, projector_lora: bool, base: str, revision: str | None) -> Any:
    """PEFT's configuration: all Linear layers of the language model; the projector whole, as LoRA, or not at all."""
    from peft import LoraConfig

    last = sorted({name.rsplit(".", 1)[-1] for name in parts.linears})
    targets = rf".*\b{re.escape(parts.language.rsplit('.', 1)[-1])}\..*\.({'|'.join(last)})"
    if projector_lora:
        targets += "|" + "|".join(rf".*\b{re.escape(name)}" for name in parts.projector_linears)
    whole = trains_projector(recipe, parts)
    return LoraConfig(
        r=recipe.lora_r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        bias="none",
        target_modules=targets,
        modules_to_save=[str(parts.projector)] if whole else None,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        revision=revision,
    )


def trains_projector(recipe: Recipe, parts: Parts) -> bool:
    """Whether the projector is trained whole."""
    return recipe.projector_lr != 0.0 and parts.projector is not None


def freeze(model: Any, recipe: Recipe, parts: Parts) -> None:
    """Full fine-tuning: language model, head, and the projector unless its rate is 0. The tower never learns."""
    model.requires_grad_(False)
    names = dict(model.named_modules())
    names[parts.language].requires_grad_(True)
    head = model.get_output_embeddings()
    if head is not None:
        head.requires_grad_(True)
    if trains_projector(recipe, parts):
        names[str(parts.projector)].requires_grad_(True)


def groups(model: Any, recipe: Recipe, parts: Parts, decayed: set[str]) -> list[dict[str, Any]]:
    """Parameter groups: the projector at its own rate, weight decay for the names in `decayed`."""
    found: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        own = recipe.projector_lr if parts.projector is not None and f".{parts.projector}." in f".{name}" else None
        key = (recipe.lr if own is None or own == 0.0 else own, recipe.weight_decay if name in decayed else 0.0)
        found.setdefault(key, []).append(parameter)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in found.items()]
