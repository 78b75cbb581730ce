"""LoRA adapters as PEFT writes them: what they are, whether they fit a model, and their identity. Plain file reads.

What is checked before a model is loaded: the folder's form, the record that training left of its base model, and the
sizes in the weights' header against the model's config. Not covered: adapters on the Hub (download them first).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UsageError

CONFIG, WEIGHTS, TEMPLATE, RECORD = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "training.json",
)
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for (0.32, config/lora.py)."""
TOWER_SWITCH = "enable_tower_connector_lora"
_OUTSIDE = re.compile(r"^(?!.*\blanguage_model\.).*(?:projector|merger|connector|vision|visual).*\.lora_[AB]\.")
_LAYER = re.compile(r"\blanguage_model\..*?layers\.(\d+)\..*?q_proj\.lora_A\.")
_TEXT_LAYER = re.compile(r"^base_model\.model\.(?:model\.)?layers\.(\d+)\..*?q_proj\.lora_A\.")
"""The same in a model that is nothing but a language model."""


class Adapter(NamedTuple):
    """`digest`: 16 hex digits over configuration, weights and template. `whole`: modules that are kept entire."""

    folder: str
    rank: int
    base: str
    digest: str
    whole: tuple[str, ...]

    @property
    def template(self) -> str | None:
        """The chat template that the adapter was trained with."""
        path = Path(self.folder) / TEMPLATE
        return str(path) if path.is_file() else None


def read(adapter: str) -> Adapter:
    """UsageError where the folder holds no LoRA adapter in safetensors."""
    folder = Path(adapter).expanduser()
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        hint = " (it is a whole model: pass it as --model)" if (folder / "config.json").is_file() else ""
        raise UsageError(f"--adapter {adapter}: no {missing[0]} there; expected a LoRA folder as PEFT writes it{hint}")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        kind, rank = config["peft_type"], int(config["r"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--adapter {folder / CONFIG}: damaged ({type(error).__name__}: {error})") from error
    if kind != "LORA":
        raise UsageError(f"--adapter {adapter}: a {kind} adapter, expected LORA")
    whole = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, TEMPLATE):
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    base = str(config.get("base_model_name_or_path") or "")
    entire = tuple(config.get("modules_to_save") or ())
    return Adapter(str(folder.resolve()), rank, base, whole.hexdigest()[:16], entire)


def check_base(adapter: Adapter, load: str, model: str, revision: str | None) -> None:
    """UsageError where the adapter is surely for another base model than `load` (a folder or Hub id)."""
    record = _json(Path(adapter.folder) / RECORD)
    trained = (record or {}).get("base", {})
    if trained.get("revision") is not None and revision is not None and trained["revision"] != revision:
        raise UsageError(
            f"--adapter {adapter.folder}: trained on {trained.get('name')} ({trained['revision']}), "
            f"not on {model} ({revision})"
        )
    found = _json(Path(load) / "config.json")
    if found is None:
        return
    text = found.get("text_config") or found
    layers, width = _sizes(Path(adapter.folder) / WEIGHTS)
    differs = width not in (None, text.get("hidden_size", width)) or layers not in (
        None,
        text.get("num_hidden_layers", layers),
    )
    if differs:
        raise UsageError(
            f"--adapter {adapter.folder}: for a language model of {layers} layers, {width} wide ({adapter.base}); "
            f"{model} has {text.get('num_hidden_layers')} layers, {text.get('hidden_size')} wide"
        )


def vllm_rank(rank: int) -> int:
    """The smallest rank that vLLM makes room for. UsageError above its largest."""
    fits = [size for size in VLLM_RANKS if size >= rank]
    if not fits:
        raise UsageError(f"--adapter: rank {rank} is above vLLM's largest ({VLLM_RANKS[-1]}); merge it into the model")
    return fits[0]


def check_vllm(adapter: Adapter, engine_args: Mapping[str, Any]) -> None:
    """UsageError for LoRA outside the language model that vLLM would pass over in silence.

    With its own switch it listens, for the models that it supports: LLaVA is none of them (0.32 dies at the first
    picture, since its tower's outputs have one token less than its inputs).
    """
    outside = next((name for name in _header(Path(adapter.folder) / WEIGHTS) if _OUTSIDE.search(name)), None)
    if outside is not None and not engine_args.get(TOWER_SWITCH):
        raise UsageError(
            f"--adapter {adapter.folder}: has LoRA outside the language model ({outside}), which vLLM would pass over; "
            f"train without --adapter-only (merged), use --backend transformers, or, for a model that vLLM supports it "
            f"for (not LLaVA), pass --engine-arg {TOWER_SWITCH}=true"
        )


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        try:
            header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        except (ValueError, MemoryError, OverflowError) as error:
            raise UsageError(f"--adapter {path}: damaged safetensors file") from error
    return header


def _sizes(path: Path) -> tuple[int | None, int | None]:
    """(layers, width) of the language model, from the safetensors header; None where it does not tell."""
    header = _header(path)
    for layer in (_LAYER, _TEXT_LAYER):
        seen = [(int(match[1]), entry["shape"][1]) for name, entry in header.items() if (match := layer.search(name))]
        if seen:
            break
    return (max(layer for layer, _ in seen) + 1, seen[0][1]) if seen else (None, None)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
