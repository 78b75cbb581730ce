"""`--export`: not a training here, but the data and a ready configuration for another trainer, made from its facts."""

from __future__ import annotations

import json
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
from engine.training import carry, data
from engine.training.plan import check_flags
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
    check_flags(config, recipe)
    carry.refuse(form, config, recipe)
    kind = carry.model_type(config)
    name = carry.name_of(form, kind, config.model)
    if form == "llava":
        _native(config.model)  # refused before anything is written
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
    writer = {"llava": _llava, "llamafactory": _llamafactory, "swift": _swift}[form]
    files = writer(config, recipe, document, out, (kind, name))
    for file, text in files.items():
        path = out / file
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".sh":
            path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    lines = [*summary(document), *(f"  {file}" for file in files)]
    return {"kind": "export", "format": form, "counts": document["counts"], "files": sorted(files), "lines": lines}


def _llava(
    config: TrainConfig, recipe: Recipe, document: dict[str, Any], out: Path, names: tuple[str, str]
) -> dict[str, str]:
    """finetune_task_lora.sh with this data. `group_by_modality_length` wants text-only rows: without one it fails."""
    flags = [
        *_native_tuning(recipe),
        "--deepspeed ./scripts/zero3.json",
        f"--model_name_or_path {shlex.quote(_native(config.model))}",
        f"--version {names[1]}",
        f"--data_path {_quoted(out / 'data' / 'llava.json')}",
        f"--image_folder {_quoted(out / 'data')}",
        "--vision_tower openai/clip-vit-large-patch14-336",
        "--mm_projector_type mlp2x_gelu",
        "--mm_vision_select_layer -2",
        "--mm_use_im_start_end False",
        "--mm_use_im_patch_token False",
        f"--image_aspect_ratio {'pad' if recipe.picture_prep == 'pad' else 'square'}",
    ]
    # Its builder and merge_lora_weights.py tell what a checkpoint is by these words in the folder's name.
    folder = "llava-lora" if recipe.peft == "lora" else "llava"
    if document["counts"].get("text-only"):
        flags.append("--group_by_modality_length True")
    flags += [
        "--bf16 True",
        "--tf32 True",
        f"--output_dir {_quoted(out / folder)}",
        "--per_device_train_batch_size $DEVICE",
        "--gradient_accumulation_steps $ACCUMULATE",
        "--evaluation_strategy no",
        "--save_strategy steps",
        *carry.as_flags(carry.learned(config, recipe)),
        f"--model_max_length {recipe.max_length}",
        f"--gradient_checkpointing {recipe.gradient_checkpointing}",
        "--dataloader_num_workers 4",
        "--lazy_preprocess True",
        "--report_to tensorboard",
    ]
    head = _head("llava", config, recipe, "In a checkout of haotian-liu/LLaVA.")
    return {"train.sh": head + 'deepspeed --num_gpus "$GPUS" llava/train/train_mem.py \\\n    ' + _joined(flags)}


def _native(model: str) -> str:
    """The checkpoint in LLaVA's own layout. UsageError for a folder in transformers' layout."""
    if model == "tiny":
        return NATIVE
    if model.startswith("llava-hf/llava-1.5-"):
        return NATIVE.replace("7b", "13b") if "13b" in model else NATIVE
    found = Path(model).expanduser() / "config.json"
    if found.is_file() and "LlavaForConditionalGeneration" in json.loads(found.read_text("utf-8")).get(
        "architectures", ()
    ):
        raise UsageError(
            f"--export llava: --model {model} has transformers' layout, which LLaVA's own trainer does not read; "
            f"give a checkpoint such as {NATIVE}, or choose llamafactory or swift"
        )
    return model


def _native_tuning(recipe: Recipe) -> list[str]:
    """LoRA there leaves the projector learning, so a frozen one has to be asked for."""
    found = []
    if recipe.peft == "lora":
        found += ["--lora_enable True", f"--lora_r {recipe.lora_r}", f"--lora_alpha {recipe.lora_alpha:g}"]
        found.append(f"--lora_dropout {recipe.lora_dropout:g}")
    if recipe.projector_lr == 0:
        found.append("--freeze_mm_mlp_adapter True")
    elif recipe.projector_lr is not None:
        found.append(f"--mm_projector_lr {recipe.projector_lr:g}")
    return found


def _llamafactory(
    config: TrainConfig, recipe: Recipe, document: dict[str, Any], out: Path, names: tuple[str, str]
) -> dict[str, str]:
    """A YAML of LLaMA-Factory 0.9.x, and a script that puts the batch for its GPUs over it."""
    pairs = config.method == "dpo"
    _need_rows(document, "preference" if pairs else "sft")
    facts: dict[str, Any] = {
        "model_name_or_path": _shown(config),
        **({"model_revision": config.revision} if config.revision else {}),
        "trust_remote_code": config.trust_remote_code,
        "stage": "dpo" if pairs else "sft",
        "do_train": True,
        "finetuning_type": recipe.peft,
        "freeze_vision_tower": True,
        "freeze_multi_modal_projector": recipe.projector_lr == 0,
        "dataset_dir": str((out / "data").resolve()),
        "dataset": "ecso_ranking" if pairs else "ecso_sft",
        "template": names[1],
        "cutoff_len": recipe.max_length,
        "output_dir": str((out / "model").resolve()),
        "per_device_train_batch_size": recipe.device_batch,
        "gradient_accumulation_steps": max(1, recipe.batch_size // recipe.device_batch),
        **carry.learned(config, recipe),
        "bf16": config.precision != "fp32",
        "disable_gradient_checkpointing": not recipe.gradient_checkpointing,
        "plot_loss": True,
    }
    if recipe.peft == "lora":
        # All linear layers of the language model; its own way of naming them leaves tower and projector out.
        facts |= {"lora_target": "all", "lora_rank": recipe.lora_r, "lora_alpha": round(recipe.lora_alpha)}
        facts |= {"lora_dropout": recipe.lora_dropout}
        if recipe.projector_lr != 0:
            facts["additional_target"] = carry.PROJECTORS[names[0]]
    if pairs:
        facts |= {"pref_beta": recipe.beta, "pref_loss": "sigmoid"}
    if config.validation_share:
        facts["val_size"] = config.validation_share
    if config.patience is not None:
        facts |= {"early_stopping_steps": config.patience, "load_best_model_at_end": True}
        facts |= {"metric_for_best_model": "eval_loss", "greater_is_better": False}
    note = "# Start it with train.sh: the batch below is for one GPU, and train.sh sets it for those that are there.\n"
    text = note + carry.header("llamafactory", config, recipe)
    text += yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    script = _head("llamafactory", config, recipe, "LLaMA-Factory 0.9.x.")
    script += 'export FORCE_TORCHRUN=1 NPROC_PER_NODE="$GPUS"\n'
    script += f"llamafactory-cli train {_quoted(out / 'train.yaml')} \\\n    "
    script += _joined(["per_device_train_batch_size=$DEVICE", "gradient_accumulation_steps=$ACCUMULATE"])
    return {"train.yaml": text, "train.sh": script}


def _swift(
    config: TrainConfig, recipe: Recipe, document: dict[str, Any], out: Path, names: tuple[str, str]
) -> dict[str, str]:
    pairs = config.method == "dpo"
    _need_rows(document, "preference" if pairs else "sft")
    whole = recipe.projector_lr != 0
    # lora_llm: LoRA on the language model, the projector whole. With lora, an unfrozen projector gets LoRA too.
    tuner = "lora_llm" if recipe.peft == "lora" and whole else recipe.peft
    flags = [
        f"--model {shlex.quote(_shown(config))}",
        "--use_hf true",
        *([f"--model_revision {shlex.quote(config.revision)}"] if config.revision else []),
        f"--model_type {names[1]}",
        *(["--rlhf_type dpo", f"--beta {recipe.beta:g}"] if pairs else []),
        f"--dataset {_quoted(out / 'data' / ('dpo.jsonl' if pairs else 'sft.jsonl'))}",
        f"--tuner_type {tuner}",
        "--freeze_vit true",
        f"--freeze_aligner {'false' if whole or config.projector_lora else 'true'}",
        *([f"--aligner_lr {recipe.projector_lr:g}"] if recipe.projector_lr else []),
        f"--max_length {recipe.max_length}",
        "--truncation_strategy delete",
        f"--output_dir {_quoted(out / 'model')}",
        "--per_device_train_batch_size $DEVICE",
        "--gradient_accumulation_steps $ACCUMULATE",
        *carry.as_flags(carry.learned(config, recipe)),
        f"--torch_dtype {'float32' if config.precision == 'fp32' else 'bfloat16'}",
        f"--gradient_checkpointing {str(recipe.gradient_checkpointing).lower()}",
    ]
    if recipe.peft == "lora":
        flags += ["--target_modules all-linear", f"--lora_rank {recipe.lora_r}", f"--lora_alpha {recipe.lora_alpha:g}"]
        flags += [f"--lora_dropout {recipe.lora_dropout:g}"]
    if config.validation_share:
        flags.append(f"--split_dataset_ratio {config.validation_share:g}")
    if config.patience is not None:
        flags.append(f"--early_stop_interval {config.patience}")
    command = 'NPROC_PER_NODE="$GPUS" swift ' + ("rlhf" if pairs else "sft")
    return {"train.sh": _head("swift", config, recipe, "ms-swift 4.x.") + f"{command} \\\n    " + _joined(flags)}


def _head(form: str, config: TrainConfig, recipe: Recipe, where: str) -> str:
    return f"#!/usr/bin/env bash\n# {where}\n{carry.header(form, config, recipe)}{carry.batch(recipe)}"


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
