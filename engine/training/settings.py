"""TRL's configuration object from a recipe and what is there: devices, number type, packages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.training.presets import Recipe
from engine.training.trainers import arguments_class

GPU_LOADERS = 4


@dataclass(frozen=True, slots=True)
class Machine:
    """What a training runs on. `processes`: ranks of torchrun; `rank` 0 writes."""

    device: str
    bf16: bool
    processes: int
    rank: int

    @property
    def writes(self) -> bool:
        return self.rank == 0


@dataclass(frozen=True, slots=True)
class Batches:
    """How a global batch is spread. `device` rows at once on each device, `accumulate` times."""

    device: int
    accumulate: int
    total: int


def machine(config: TrainConfig) -> Machine:
    """UsageError: several GPUs without a launcher, bf16 where it is not, a launcher that shards weights."""
    import torch

    for variable, name in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if os.environ.get(variable, "").lower() in ("1", "true"):
            raise UsageError(f"{name} is not supported: start with torchrun, or accelerate launch --multi_gpu")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    gpu = not config.cpu and torch.cuda.is_available()
    if gpu and processes == 1 and torch.cuda.device_count() > 1:
        count = torch.cuda.device_count()
        raise UsageError(
            f"{count} GPUs are visible: use them all with `torchrun --nproc-per-node {count} -m engine.train …`, "
            "or one with CUDA_VISIBLE_DEVICES=0"
        )
    able = bool(torch.cuda.is_bf16_supported()) if gpu else True
    if config.precision == "bf16" and not able:
        raise UsageError("--precision bf16: this GPU has no bfloat16; use fp32")
    bf16 = config.precision == "bf16" or (config.precision == "auto" and gpu and able)
    return Machine("cuda" if gpu else "cpu", bf16, processes, int(os.environ.get("RANK", "0")))


def spread(recipe: Recipe, processes: int) -> Batches:
    """The largest device batch within the recipe's that gives the global batch exactly.

    UsageError where the global batch is no multiple of the devices.
    """
    if recipe.batch_size % processes:
        raise UsageError(
            f"--batch-size {recipe.batch_size}: no multiple of the {processes} devices; "
            f"choose {recipe.batch_size // processes * processes or processes}"
        )
    share = recipe.batch_size // processes
    device = next(size for size in range(min(recipe.device_batch, share), 0, -1) if share % size == 0)
    return Batches(device, share // device, recipe.batch_size)


def arguments(config: TrainConfig, recipe: Recipe, here: Machine, batches: Batches, out: Path) -> Any:
    """SFTConfig, DPOConfig, KTOConfig or TrainingArguments. Nothing is cut (`max_length=None`): rows were measured when
    they were read."""
    if find_spec("tensorboard") or find_spec("tensorboardX"):
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "logs")
        report = ["tensorboard"]
    else:
        report = []
    workers = config.loader_workers
    made: dict[str, Any] = {
        "output_dir": str(out / "checkpoints"),
        "per_device_train_batch_size": batches.device,
        "per_device_eval_batch_size": batches.device,
        "gradient_accumulation_steps": batches.accumulate,
        "num_train_epochs": recipe.epochs,
        "max_steps": config.max_steps or -1,
        "learning_rate": recipe.lr,
        "lr_scheduler_type": recipe.scheduler,
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "adam_beta2": recipe.adam_beta2,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": None,
        "logging_steps": config.log_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": config.keep_checkpoints,
        "seed": config.seed,
        "bf16": here.bf16,
        "tf32": True if here.device == "cuda" and here.bf16 else None,
        "use_cpu": here.device == "cpu",
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "report_to": report,
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_num_workers": workers if workers is not None else (GPU_LOADERS if here.device == "cuda" else 0),
        "dataloader_pin_memory": here.device == "cuda",
    }
    if config.validation_share:
        made |= {"eval_strategy": "steps", "eval_steps": config.save_steps}
        if config.patience is not None:
            made |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    if config.task != "vlm":
        del made["max_length"]  # an argument of TRL's
    elif config.method != "sft":
        made["beta"] = recipe.beta
    if config.objective == "dpo":
        made["precompute_ref_log_probs"] = recipe.peft == "full"
    return arguments_class(config.objective)(**made)
