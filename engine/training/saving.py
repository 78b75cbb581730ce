"""What a training leaves: a model folder that transformers and vLLM both load, or a PEFT adapter folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

WEIGHT_FILES = ("model.safetensors.index.json", "model.safetensors")
TOWER = ("vision_tower.", "vision_tower.vision_model.")
"""transformers 5 saves LLaVA's tower without `vision_model`; the Hub's files, and vLLM 0.32, have it."""


def _readable(out: Path) -> None:
    """safetensors writes files that only their owner may read; a model folder is passed on."""
    umask = os.umask(0)
    os.umask(umask)
    for path in out.glob("*.safetensors"):
        path.chmod(0o666 & ~umask)


def save_merged(model: Any, processor: Any, out: Path, base: str, revision: str | None) -> None:
    """LoRA folded into the weights; names and number type of the weights as in the base model's own files."""
    import torch

    merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    known = base_tensors(base, revision)
    dtype = next((getattr(torch, name) for name in known.values() if name in ("float16", "bfloat16", "float32")), None)
    out.mkdir(parents=True, exist_ok=True)
    (merged if dtype is None else merged.to(dtype)).save_pretrained(out)
    _rename(out, set(known))
    _readable(out)
    processor.save_pretrained(out)


def save_adapter(model: Any, processor: Any, out: Path) -> None:
    """adapter_config.json, adapter_model.safetensors, and the processor with the template that was trained with."""
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
    _readable(out)
    processor.save_pretrained(out)


def base_tensors(base: str, revision: str | None) -> dict[str, str]:
    """Tensor name -> number type, from the headers of the base model's safetensors files; empty where it has none."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    found: dict[str, str] = {}
    for file in _weight_files(base, revision):
        path = cached_file(base, file, revision=revision, _raise_exceptions_for_missing_entries=False)
        if path is None:
            continue
        with safe_open(path, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (safe_open is no mapping)
                found[name] = _NUMBERS.get(tensors.get_slice(name).get_dtype(), "")
    return found


_NUMBERS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}


def _weight_files(base: str, revision: str | None) -> Iterable[str]:
    from transformers.utils import cached_file

    index = cached_file(base, WEIGHT_FILES[0], revision=revision, _raise_exceptions_for_missing_entries=False)
    if index is None:
        return (WEIGHT_FILES[1],)
    return sorted(set(json.loads(Path(index).read_text("utf-8"))["weight_map"].values()))


def _rename(out: Path, known: set[str]) -> None:
    """Give tensors the names that the base model's files have, where only the tower's prefix differs."""
    from safetensors.torch import load_file, save_file

    for path in sorted(out.glob("model*.safetensors")):
        tensors = load_file(path)
        names = {name: _known_name(name, known) for name in tensors}
        if any(old != new for old, new in names.items()):
            temporary = path.with_suffix(".tmp")
            save_file({names[name]: tensor for name, tensor in tensors.items()}, temporary, metadata={"format": "pt"})
            os.replace(temporary, path)
    index = out / WEIGHT_FILES[0]
    if index.is_file():
        document = json.loads(index.read_text("utf-8"))
        document["weight_map"] = {_known_name(name, known): file for name, file in document["weight_map"].items()}
        index.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _known_name(name: str, known: set[str]) -> str:
    other = name.replace(*TOWER, 1)
    return other if name not in known and other in known else name
