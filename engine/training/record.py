"""training.json: what was trained on what, with which numbers, and what came out. Contract: `schemas/training.json`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import schemas
from engine.training.plan import Job
from engine.training.rows import length_of
from engine.training.settings import Batches, Machine
from engine.version import SCHEMA_VERSION, version

if TYPE_CHECKING:
    from engine.training.train import Prepared

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
WEIGHTS = (".safetensors",)


@dataclass(frozen=True, slots=True)
class Facts:
    """Of the run itself. `resumed`: name of the checkpoint it went on from."""

    started: datetime
    seconds: float
    resumed: str | None
    machine: Machine
    batches: Batches


def count_parameters(model: Any) -> dict[str, int]:
    """All, and those that learn (before LoRA is merged)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"all": sum(n for n, _ in sizes), "trained": sum(n for n, learns in sizes if learns)}


def make(job: Job, prepared: Prepared, state: Any, facts: Facts, counted: dict[str, int]) -> dict[str, Any]:
    """The document."""
    return {
        "kind": "training",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "method": job.config.objective,
        "output": "adapter" if job.config.adapter_only else "merged",
        "base": {"name": job.base, "revision": job.base_revision, "loaded_from": job.load},
        "data": _data(job, prepared),
        "config": _plain(asdict(job.config)),
        "recipe": asdict(job.recipe),
        "identity": job.identity,
        "seed": job.config.seed,
        "batches": asdict(facts.batches),
        "devices": {"kind": facts.machine.device, "count": facts.machine.processes, "bf16": facts.machine.bf16},
        "parameters": counted,
        "steps": int(state.global_step),
        "epochs": float(state.epoch or 0.0),
        "loss": _losses(state.log_history),
        "seconds": round(facts.seconds, 3),
        "resumed_from": facts.resumed,
        "started_at": facts.started.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "versions": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "files": [_file(path) for path in sorted(job.out.glob("*")) if path.suffix in WEIGHTS],
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """Check against the schema and put the file in its place at once: it says that the training is done."""
    schemas.check("training", document, where=str(path))
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _data(job: Job, prepared: Prepared) -> dict[str, Any]:
    mix = job.source.mix
    lengths = [length_of(row) for row in prepared.train]
    return {
        "path": str(job.config.data),
        "sha256": job.source.sha256,
        "counts": {name: count for name, count in job.source.counts.items() if count},
        "rows": len(prepared.train),
        "validation_rows": len(prepared.validation),
        "with_pictures": sum(bool(row.pictures) for row in prepared.train),
        "pictures": 0 if prepared.store is None else len(prepared.store),
        "tokens": sum(lengths),
        "longest": max(lengths),
        "left_out": dict(prepared.encoder.left_out),
        "named": prepared.encoder.named,
        "mix": None if mix is None else {"name": mix.source.name, "rows": len(mix.chosen), "bad_rows": mix.bad_rows},
    }


def _losses(history: list[dict[str, Any]]) -> dict[str, Any]:
    train = [[entry["step"], entry["loss"]] for entry in history if "loss" in entry]
    validation = [[entry["step"], entry["eval_loss"]] for entry in history if "eval_loss" in entry]
    return {
        "first": train[0][1] if train else None,
        "last": train[-1][1] if train else None,
        "validation": validation[-1][1] if validation else None,
        "curve": train,
        "validation_curve": validation,
    }


def _file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.name, "bytes": path.stat().st_size, "sha256": checksum}


def _version(package: str) -> str | None:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if hasattr(value, "keys") else value for key, value in found.items()}
