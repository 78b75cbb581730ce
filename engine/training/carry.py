"""What of a training another trainer can be told: its names for the model, flags it has no key for, the global batch.

Names and keys were read in LLaMA-Factory 0.9.5 (`extras/constants.py`, `data/template.py`, `hparams/`,
`model/model_utils/visual.py`), ms-swift 4.6.0 (`model/models/`, `trainers/arguments.py`, `tuner_plugin/lora_llm.py`)
and haotian-liu/LLaVA (`scripts/v1_5/`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from engine.config import TrainConfig
from engine.errors import UsageError
from engine.training.presets import Recipe

TITLES = {"llava": "LLaVA's own trainer", "llamafactory": "LLaMA-Factory 0.9.5", "swift": "ms-swift 4.6.0"}
NAMES: dict[str, dict[str, str]] = {
    "llava": {"llava": "v1", "llava_llama": "v1"},
    "llamafactory": {"llava": "llava", "qwen2_vl": "qwen2_vl", "qwen2_5_vl": "qwen2_vl"},
    "swift": {
        "llava": "llava1_5_hf",
        "llava_onevision": "llava_onevision_hf",
        "qwen2_vl": "qwen2_vl",
        "qwen2_5_vl": "qwen2_5_vl",
    },
}
"""`model_type` of config.json (`llava_llama`: what LLaVA's own later code writes) → LLaVA's `--version`,
LLaMA-Factory's `template`, ms-swift's `--model_type`."""
PROJECTORS = {"llava": "multi_modal_projector", "qwen2_vl": "visual.merger", "qwen2_5_vl": "visual.merger"}
"""LLaMA-Factory's `lora_target: all` leaves these out; as `additional_target` they learn whole."""
PUBLISHED = {
    r"llava-hf/llava-1\.5-": "llava",
    r"liuhaotian/llava-v1\.5-": "llava",
    r"llava-hf/llava-onevision-": "llava_onevision",
    r"Qwen/Qwen2-VL-": "qwen2_vl",
    r"Qwen/Qwen2\.5-VL-": "qwen2_5_vl",
}
"""Hub ids whose type is known without a download."""


def model_type(config: TrainConfig) -> str:
    """`model_type` of the model's config.json. UsageError where it cannot be read."""
    if config.model == "tiny":
        return "llava"  # shown as LLaVA-1.5-7B: no other trainer reads the embedded model
    known = next((kind for name, kind in PUBLISHED.items() if re.match(name, config.model)), None)
    if known is not None:
        return known
    path = Path(config.model).expanduser() / "config.json"
    if not path.is_file():
        return _from_hub(config)
    return str(json.loads(path.read_text("utf-8")).get("model_type"))


def _from_hub(config: TrainConfig) -> str:
    wrong = f"--model {config.model}: no config.json there, nor on the Hub; --export needs its model_type"
    if Path(config.model).expanduser().is_dir() or config.model.count("/") != 1 or config.model[0] in "./~":
        raise UsageError(wrong)
    from transformers import PreTrainedConfig

    try:
        found, _ = PreTrainedConfig.get_config_dict(config.model, revision=config.revision)
        return str(found.get("model_type"))
    except Exception as error:
        raise UsageError(wrong) from error


def name_of(form: str, kind: str, model: str) -> str:
    """The trainer's name for this type of model. UsageError for one that it, or this table, does not know."""
    if kind not in NAMES[form]:
        raise UsageError(
            f"--export {form}: --model {model} is of type {kind}, and what {TITLES[form]} calls it is not known here; "
            f"there are {', '.join(NAMES[form])}"
        )
    return NAMES[form][kind]


def refuse(form: str, config: TrainConfig, recipe: Recipe) -> None:
    """UsageError naming a flag that was given and for which the trainer has no key."""
    native, factory = form == "llava", form == "llamafactory"
    own_rate = recipe.projector_lr not in (None, 0.0, recipe.lr)
    lost = {
        "--chat-template-kwargs": bool(config.chat_template_kwargs),
        "--trust-remote-code": config.trust_remote_code and native,
        "--revision": config.revision is not None and native,
        "--picture-prep pad": config.picture_prep == "pad" and not native,
        "--projector-lora": config.projector_lora and form != "swift",
        "--projector-lr": config.projector_lr is not None and own_rate and factory,
        "--precision fp32": config.precision == "fp32" and native,
        "--validation-share": bool(config.validation_share) and native,
        "--patience": config.patience is not None and native,
    }
    for flag, asked in lost.items():
        if asked:
            raise UsageError(f"--export {form}: {TITLES[form]} has no key for {flag}; leave it out")


def header(form: str, config: TrainConfig, recipe: Recipe) -> str:
    """Comment lines: what will not be as in a training here."""
    found = []
    if recipe.peft == "lora":
        merge = {
            "llava": "scripts/merge_lora_weights.py",
            "llamafactory": "llamafactory-cli export",
            "swift": "swift export --merge_lora true",
        }[form]
        if not config.adapter_only:
            found.append(f"it leaves an adapter, no merged model: merge with {merge}")
    if form == "llamafactory" and recipe.projector_lr not in (None, 0.0, recipe.lr):
        found.append(f"the projector learns at {recipe.lr:g}: no key for a rate of its own ({recipe.projector_lr:g})")
    if form != "llava" and recipe.picture_prep == "pad":
        found.append("pictures are not padded to a square: the model's own processor prepares them")
    if form == "swift" and recipe.template:
        found.append("for LLaVA-1.5 it writes no system sentence and a newline before ASSISTANT:, unlike vicuna_v1")
    if form == "swift" and config.patience is not None:
        found.append("it stops early, but the last checkpoint is the result, not the best one")
    if form == "llamafactory":
        found.append("rows longer than cutoff_len are cut, not left out")
    if config.precision == "auto":
        found.append("bf16 whatever the GPU can do")
    found.append("other versions of this trainer, and order of rows: its own")
    return "".join(f"# Not equal to engine.train: {line}.\n" for line in found)


def batch(recipe: Recipe) -> str:
    """Shell lines that set DEVICE and ACCUMULATE for GPUS as `engine.training.settings.spread` does, or fail."""
    return (
        "# One machine. Rows at once on a GPU and accumulation follow from GPUS, so that the global batch is BATCH.\n"
        "set -euo pipefail\n"
        "GPUS=${GPUS:-$(nvidia-smi -L | wc -l)}\n"
        f"BATCH={recipe.batch_size}\n"
        "if (( GPUS < 1 || BATCH % GPUS )); then\n"
        '    echo "a global batch of $BATCH does not divide by $GPUS GPUs: set GPUS to a divisor" >&2\n'
        "    exit 2\n"
        "fi\n"
        "SHARE=$(( BATCH / GPUS ))\n"
        f"DEVICE={recipe.device_batch}\n"
        "while (( DEVICE > SHARE || SHARE % DEVICE )); do DEVICE=$(( DEVICE - 1 )); done\n"
        "ACCUMULATE=$(( SHARE / DEVICE ))\n"
    )


def learned(config: TrainConfig, recipe: Recipe) -> dict[str, Any]:
    """Keys of transformers' TrainingArguments, which all three take, in order."""
    found: dict[str, Any] = {
        "learning_rate": recipe.lr,
        "num_train_epochs": float(recipe.epochs),
        "lr_scheduler_type": recipe.scheduler,
        "warmup_ratio": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "adam_beta2": recipe.adam_beta2,
        "max_grad_norm": recipe.max_grad_norm,
        "save_steps": config.save_steps,
        "save_total_limit": config.keep_checkpoints,
        "logging_steps": config.log_steps,
        "seed": config.seed,
    }
    if config.max_steps:
        found["max_steps"] = config.max_steps
    if config.validation_share:
        found |= {"eval_strategy": "steps", "eval_steps": config.save_steps}
    return found


def as_flags(found: dict[str, Any]) -> list[str]:
    return [f"--{key} {value:g}" if isinstance(value, float) else f"--{key} {value}" for key, value in found.items()]
