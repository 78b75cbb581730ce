"""`--export`: not a training here, but the data and a ready configuration for another trainer, made from its facts."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import Any

import yaml

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.export.export import ExportConfig, summary
from engine.export.export import export as export_data
from engine.training import data
from engine.training.presets import Recipe, resolve

TINY_SHOWN = "llava-hf/llava-1.5-7b-hf"
NATIVE = "liuhaotian/llava-v1.5-7b"
"""LLaVA's own trainer reads its own checkpoints, not those of transformers."""


def export(config: TrainConfig) -> dict[str, Any]:
    """Write OUT/data and OUT/train.sh (LLaMA-Factory: train.yaml too). UsageError as for a training."""
    form = str(config.export)
    if not config.data or not config.out:
        raise UsageError("--export needs --data and --out")
    if config.method == "kto":
        raise UsageError(f"--export {form}: kto rows are not exported; choose --method sft or dpo")
    if form == "llava" and config.method != "sft":
        raise UsageError("--export llava: LLaVA's own trainer knows supervised rows only; choose llamafactory or swift")
    recipe = resolve(config)
    source = data.open_source(config)  # the same refusals as for a training: scripted, empty, damaged
    if source.exported is not None:
        raise UsageError(f"--data {config.data}: an export already; --export needs the curated set")
    out = Path(str(config.out))
    document = export_data(
        ExportConfig(
            curated=str(config.data),
            format=form,
            out=str(out / "data"),
            mix=config.mix,
            mix_rows=(config.mix_rows or data.MIX_ROWS) if config.mix else None,
            seed=config.seed,
            allow_partial=config.allow_partial,
        )
    )
    if not document["pictures"]:
        raise UsageError(f"--data {config.data}: none of its rows has a picture; expected rows with pictures")
    files = {"llava": _llava, "llamafactory": _llamafactory, "swift": _swift}[form](config, recipe, document, out)
    for name, text in files.items():
        path = out / name
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    lines = [*summary(document), *(f"  {name}" for name in files)]
    return {"kind": "export", "format": form, "counts": document["counts"], "files": sorted(files), "lines": lines}


def _llava(config: TrainConfig, recipe: Recipe, document: dict[str, Any], out: Path) -> dict[str, str]:
    """finetune_task_lora.sh with this data. `group_by_modality_length` wants text-only rows: without one it fails."""
    model = NATIVE if config.model == "tiny" or config.model.startswith("llava-hf/") else config.model
    flags = [
        *_native_lora(recipe),
        "--deepspeed ./scripts/zero3.json",
        f"--model_name_or_path {model}",
        "--version v1",
        f"--data_path {_quoted(out / 'data' / 'llava.json')}",
        f"--image_folder {_quoted(out / 'data')}",
        "--vision_tower openai/clip-vit-large-patch14-336",
        "--mm_projector_type mlp2x_gelu",
        "--mm_vision_select_layer -2",
        "--mm_use_im_start_end False",
        "--mm_use_im_patch_token False",
        f"--image_aspect_ratio {'pad' if recipe.picture_prep == 'pad' else 'square'}",
    ]
    if document["counts"].get("text-only"):
        flags.append("--group_by_modality_length True")
    accumulate = max(1, recipe.batch_size // recipe.device_batch)
    flags += [
        "--bf16 True",
        "--tf32 True",
        f"--output_dir {_quoted(out / 'model')}",
        f"--num_train_epochs {recipe.epochs:g}",
        f"--per_device_train_batch_size {recipe.device_batch}",
        "--gradient_accumulation_steps $ACCUMULATE",
        "--evaluation_strategy no",
        "--save_strategy steps",
        f"--save_steps {config.save_steps}",
        f"--save_total_limit {config.keep_checkpoints}",
        f"--learning_rate {recipe.lr:g}",
        f"--weight_decay {recipe.weight_decay:g}",
        f"--warmup_ratio {recipe.warmup:g}",
        f"--lr_scheduler_type {recipe.scheduler}",
        "--logging_steps 1",
        f"--model_max_length {recipe.max_length}",
        "--gradient_checkpointing True",
        "--dataloader_num_workers 4",
        "--lazy_preprocess True",
        f"--seed {config.seed}",
        "--report_to tensorboard",
    ]
    head = (
        "#!/usr/bin/env bash\n"
        "# In a checkout of haotian-liu/LLaVA. The global batch is kept whatever the number of GPUs.\n"
        "set -euo pipefail\n"
        "GPUS=${GPUS:-$(nvidia-smi -L | wc -l)}\n"
        f"ACCUMULATE=$(( {accumulate} / GPUS > 0 ? {accumulate} / GPUS : 1 ))\n"
    )
    return {"train.sh": head + 'deepspeed --num_gpus "$GPUS" llava/train/train_mem.py \\\n    ' + _joined(flags)}


def _native_lora(recipe: Recipe) -> list[str]:
    if recipe.peft == "full":
        return []
    found = ["--lora_enable True", f"--lora_r {recipe.lora_r}", f"--lora_alpha {recipe.lora_alpha:g}"]
    found.append(f"--lora_dropout {recipe.lora_dropout:g}")
    return [*found, f"--mm_projector_lr {recipe.projector_lr:g}"] if recipe.projector_lr else found


def _llamafactory(config: TrainConfig, recipe: Recipe, document: dict[str, Any], out: Path) -> dict[str, str]:
    """A YAML of LLaMA-Factory 0.9.x. The preset's global batch is for one GPU; divide the accumulation by yours."""
    pairs = config.method == "dpo"
    _need_rows(document, "preference" if pairs else "sft")
    facts: dict[str, Any] = {
        "model_name_or_path": _shown(config),
        "stage": "dpo" if pairs else "sft",
        "do_train": True,
        "finetuning_type": recipe.peft,
        "freeze_vision_tower": True,
        "freeze_multi_modal_projector": not recipe.projector_lr,
        "dataset_dir": str((out / "data").resolve()),
        "dataset": "ecso_ranking" if pairs else "ecso_sft",
        "template": "llava",
        "cutoff_len": recipe.max_length,
        "output_dir": str((out / "model").resolve()),
        "per_device_train_batch_size": recipe.device_batch,
        "gradient_accumulation_steps": max(1, recipe.batch_size // recipe.device_batch),
        "learning_rate": recipe.lr,
        "num_train_epochs": float(recipe.epochs),
        "lr_scheduler_type": recipe.scheduler,
        "warmup_ratio": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "bf16": True,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "save_steps": config.save_steps,
        "logging_steps": config.log_steps,
        "plot_loss": True,
        "seed": config.seed,
    }
    if recipe.peft == "lora":
        # All linear layers of the language model; its own way of naming them leaves the frozen tower out.
        facts |= {"lora_target": "all", "lora_rank": recipe.lora_r, "lora_alpha": round(recipe.lora_alpha)}
        facts |= {"lora_dropout": recipe.lora_dropout}
    if pairs:
        facts |= {"pref_beta": recipe.beta, "pref_loss": "sigmoid"}
    text = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    script = f"#!/usr/bin/env bash\nset -euo pipefail\nllamafactory-cli train {_quoted(out / 'train.yaml')}\n"
    return {"train.yaml": text, "train.sh": script}


def _swift(config: TrainConfig, recipe: Recipe, document: dict[str, Any], out: Path) -> dict[str, str]:
    pairs = config.method == "dpo"
    _need_rows(document, "preference" if pairs else "sft")
    flags = [
        f"--model {_shown(config)}",
        *(["--rlhf_type dpo", f"--beta {recipe.beta:g}"] if pairs else []),
        f"--dataset {_quoted(out / 'data' / ('dpo.jsonl' if pairs else 'sft.jsonl'))}",
        f"--tuner_type {recipe.peft}",
        "--freeze_vit true",
        f"--freeze_aligner {'false' if recipe.projector_lr else 'true'}",
        f"--max_length {recipe.max_length}",
        "--truncation_strategy delete",
        f"--output_dir {_quoted(out / 'model')}",
        f"--num_train_epochs {recipe.epochs:g}",
        f"--per_device_train_batch_size {recipe.device_batch}",
        f"--gradient_accumulation_steps {max(1, recipe.batch_size // recipe.device_batch)}",
        f"--learning_rate {recipe.lr:g}",
        f"--lr_scheduler_type {recipe.scheduler}",
        f"--warmup_ratio {recipe.warmup:g}",
        f"--weight_decay {recipe.weight_decay:g}",
        "--torch_dtype bfloat16",
        f"--save_steps {config.save_steps}",
        f"--seed {config.seed}",
    ]
    if recipe.peft == "lora":
        flags += ["--target_modules all-linear", f"--lora_rank {recipe.lora_r}", f"--lora_alpha {recipe.lora_alpha:g}"]
        flags += [f"--lora_dropout {recipe.lora_dropout:g}"]
    command = "swift rlhf" if pairs else "swift sft"
    return {"train.sh": f"#!/usr/bin/env bash\nset -euo pipefail\n{command} \\\n    " + _joined(flags)}


def _need_rows(document: dict[str, Any], table: str) -> None:
    if not document["counts"].get(table):
        raise UsageError(f"--export: no rows in {table}/ for this method")


def _shown(config: TrainConfig) -> str:
    """The embedded model is for this engine alone."""
    return TINY_SHOWN if config.model == "tiny" else config.model


def _joined(flags: list[str]) -> str:
    return " \\\n    ".join(flags) + "\n"


def _quoted(path: Path) -> str:
    """An absolute path as one shell word."""
    return shlex.quote(os.path.realpath(path))
