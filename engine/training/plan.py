"""From a configuration to a training, checked before a model is loaded: recipe, base model, data, output folder."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import fingerprint
from engine.config import GenerateConfig, TrainConfig
from engine.errors import UsageError
from engine.training import data
from engine.training.data import Source
from engine.training.presets import Recipe, resolve
from engine.training.protector.model import BASES
from engine.training.protector.pairs import PairSource, open_pairs
from engine.training.settings import spread

RECORD = "training.json"
STARTED = "checkpoints/started.json"
OURS = ("checkpoints", "journal", "logs")
"""What a training that broke off before its first checkpoint leaves (journal/ holds the lock)."""
NOT_PART = (
    "out",
    "resume",
    "save_steps",
    "keep_checkpoints",
    "log_steps",
    "threads",
    "loader_workers",
    "export",
    "cpu",
)
"""Keys that do not change what is learned, or only how it is kept."""
NEWER: tuple[tuple[str, Any], ...] = (("task", "vlm"), ("columns", {}))
"""Keys left out of the identity at their default: a training from before there were such keys stays the same one."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training, planned. `load`: where the base model's weights are; `identity`: what makes it this training."""

    config: TrainConfig
    recipe: Recipe
    source: Source | PairSource
    load: str
    base: str
    base_revision: str | None
    out: Path
    identity: dict[str, Any]


def plan(config: TrainConfig) -> Job:
    """UsageError names what is wrong and what to do."""
    if not config.data:
        raise UsageError("--data is missing: a curated run folder, or a folder of engine.export --format trl*")
    if not config.out:
        raise UsageError("--out is missing: a folder for the trained model")
    if "://" in config.out:
        raise UsageError(f"--out {config.out}: training writes to a local folder; copy it afterwards")
    recipe = resolve(config)
    check_flags(config, recipe)
    if config.task != "vlm":
        _check_text(config)
    _refuse_adapter_as_model(config.model)
    asked = GenerateConfig(model=config.model, revision=config.revision)
    load, base, revision = fingerprint.resolve_model(asked, "transformers")
    source = data.open_source(config) if config.task == "vlm" else open_pairs(config)
    return Job(
        config, recipe, source, load, base, revision, Path(config.out), _identity(config, recipe, source, revision)
    )


def state_of(job: Job, *, first: bool = True) -> dict[str, Any] | None:
    """The record of this very training where it is done already; None where there is something to do.

    `first`: this is rank 0. UsageError: the folder holds another training, an interrupted one and no --resume was
    given, or other files.
    """
    record, started = job.out / RECORD, job.out / STARTED
    if not first and not record.is_file():
        return None  # the first rank looks; by now it may have begun to write
    if record.is_file():
        document: dict[str, Any] = json.loads(record.read_text("utf-8"))
        _same(job, document.get("identity", {}), "holds another training")
        return document
    if started.is_file() and any(started.parent.glob("checkpoint-*")):
        _same(job, json.loads(started.read_text("utf-8")), "holds checkpoints of another training")
        if not job.config.resume:
            raise UsageError(f"--out {job.out}: an interrupted training; go on with --resume, or choose a new folder")
    elif job.out.is_dir() and any(path.name not in OURS for path in job.out.iterdir()):
        raise UsageError(f"--out {job.out}: holds other files; choose a new folder")
    return None


def note_start(job: Job) -> None:
    """Say whose checkpoints these are, before the first one."""
    path = job.out / STARTED
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(job.identity, indent=1, sort_keys=True), encoding="utf-8")
    os.replace(temporary, path)


def _same(job: Job, found: dict[str, Any], words: str) -> None:
    differs = [name for name in sorted({*found, *job.identity}) if found.get(name) != job.identity.get(name)]
    if differs:
        shown = ", ".join(f"{name} is {found.get(name)!r}, not {job.identity.get(name)!r}" for name in differs[:5])
        raise UsageError(f"--out {job.out}: {words} ({shown}); choose a new folder")


def _identity(config: TrainConfig, recipe: Recipe, source: Source | PairSource, revision: str | None) -> dict[str, Any]:
    given = {key: value for key, value in asdict(config).items() if key not in NOT_PART and key != "data"}
    mix = None
    if source.mix is not None:
        keys = "".join(row.key for row in source.mix.chosen)
        mix = hashlib.sha256(keys.encode()).hexdigest()
    found = {**given, **asdict(recipe), "base_revision": revision, "data_sha256": source.sha256, "mix_sha256": mix}
    return {key: value for key, value in found.items() if key != "mix" and (key, value) not in NEWER}


def check_flags(config: TrainConfig, recipe: Recipe) -> None:
    """UsageError for flags that contradict each other, or a batch that the method cannot learn from."""
    if config.patience is not None and not config.validation_share:
        raise UsageError("--patience needs --validation-share: without validation rows there is nothing to watch")
    _check_adapter(config, recipe)
    if config.columns and config.task == "vlm":
        raise UsageError("--columns: only with --task harm-detector or detoxifier; a curated set has its own")
    if config.objective == "kto":
        _check_kto(recipe)


def _check_text(config: TrainConfig) -> None:
    """UsageError for flags of vision-language training, and for a model that has no text half of its own."""
    if config.model == "tiny":
        raise UsageError(
            f"--task {config.task}: --model tiny is a vision-language model; name a text model, as the released one's "
            f"{BASES[config.task]}, or a tiny one (python -m engine.tiny.protector make)"
        )
    asked = {
        "--method": config.method != "sft",
        "--mix": config.mix is not None or config.mix_rows is not None,
        "--export": config.export is not None,
        "--projector-lora": config.projector_lora,
        "--projector-lr": config.projector_lr is not None,
        "--picture-prep": config.picture_prep is not None,
        "--chat-template-kwargs": bool(config.chat_template_kwargs),
        "--beta": config.beta is not None,
    }
    for flag, given in asked.items():
        if given:
            raise UsageError(f"{flag}: not with --task {config.task}; it is for vision-language models")


def _check_kto(recipe: Recipe) -> None:
    """KTO compares each row with its neighbours on the same device; TRL says so after the model is loaded."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if spread(recipe, processes).device < 2:
        raise UsageError(
            f"--method kto: --batch-size {recipe.batch_size} and --device-batch {recipe.device_batch} give one row at "
            f"once on each of {processes} device(s), and KTO needs two or more; raise --device-batch and --batch-size"
        )


def _check_adapter(config: TrainConfig, recipe: Recipe) -> None:
    if recipe.peft == "full" and (config.adapter_only or config.projector_lora):
        flag = "--adapter-only" if config.adapter_only else "--projector-lora"
        raise UsageError(f"{flag} is a form of LoRA; this training is --peft full")
    whole = recipe.projector_lr != 0.0
    if config.adapter_only and whole:
        raise UsageError(
            "--adapter-only writes LoRA weights alone, but the projector would be trained whole and be lost: "
            "pass --projector-lr 0 (or --projector-lora too), or leave --adapter-only out"
        )
    if config.projector_lora and whole:
        raise UsageError("--projector-lora: the projector is trained whole already; pass --projector-lr 0")


def _refuse_adapter_as_model(model: str) -> None:
    folder = Path(model).expanduser()
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        base = json.loads((folder / "adapter_config.json").read_text("utf-8")).get("base_model_name_or_path")
        raise UsageError(
            f"--model {model}: a LoRA adapter, no model; train on its base model ({base}), or on a merged model"
        )
