"""The seam of judges whose model writes nothing: a text (or picture) goes in, logits come out, in batches.

A chat model is asked through `engine.backends.base.Backend`; a classifier through `Classifier`, which starts, counts
and closes in the same way, so that `annotate` carries either (`Judge.create`). It always runs on transformers
(`engine.backends.classifier`); asking a server for it, or the scripted backend, is an error before anything starts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.admission import Claim
from engine.backends.base import BackendConfig
from engine.errors import UsageError
from engine.fingerprint import HEAD_AND_TAIL, hub_commit
from engine.judges.base import JudgeOptions
from engine.types import Picture, Query

WEIGHTS = (".json", ".jinja", ".safetensors", ".model", ".txt", ".bin", ".pt")


@dataclass(frozen=True, slots=True)
class Head:
    """One classifier to load. Paths are local, or `ORG/NAME` (and what lies below it: `ORG/NAME/folder`) on the Hub."""

    name: str
    kind: Literal["sequence", "roberta_relu", "policies"]
    """sequence: an AutoModelForSequenceClassification; roberta_relu: RoBERTa, its pooled output through dropout, linear
    and relu; policies: a picture model that says yes or no to each policy (ShieldGemma 2)."""
    model: str
    labels: int = 1
    max_tokens: int = 512
    """Longer texts are cut at their end."""
    adapter: str | None = None
    """A LoRA adapter with the classification layer in it."""
    weights: str | None = None
    """The whole state dict, where it lies in a file of its own (`roberta_relu`)."""
    revision: str | None = None
    policies: tuple[tuple[str, str], ...] = ()
    """(name, text) of each policy; () asks by the model's own."""


class Classifier(Protocol):
    """Loaded heads, behind the same admission as a chat model."""

    @property
    def capacity(self) -> int: ...

    def cost(self, query: Query) -> Claim: ...

    async def start(self) -> None:
        """Load. UsageError where a model, an adapter or its classification layer is missing."""
        ...

    async def logits(self, head: str, text: str) -> list[float]:
        """The logits of one text. RequestError where the model failed on it."""
        ...

    async def policies(self, head: str, picture: Picture) -> dict[str, float]:
        """Policy -> probability that the picture violates it."""
        ...

    async def close(self) -> None: ...


def on_transformers(judge: str, options: JudgeOptions, model: str | None = None) -> BackendConfig:
    """The configuration to load with. `model`: used where the flags name none. UsageError for a chat server."""
    given = options.backend
    if given is None:
        if model is None:
            raise UsageError(
                f"--judge {judge} loads its own model: name it (annotate: --model, evaluate: --judge-model), "
                "a folder or a Hub id"
            )
        from engine.planning import gpus_here

        return BackendConfig("transformers", model, gpus=1.0 if gpus_here() else 0.0)
    if given.name not in ("transformers", "vllm"):
        raise UsageError(f"--judge {judge} loads a classifier with transformers; --backend {given.name} has none")
    return replace(given, name="transformers", tensor_parallel=1)


def label(options: JudgeOptions) -> str:
    """`model@revision backend …` with the backend that really runs it."""
    if options.backend is None:
        return "transformers"
    return options.model_label.replace(f" {options.backend.name}", " transformers", 1)


def creator(heads: Sequence[Head]) -> Callable[[BackendConfig], Any]:
    """For `Judge.create`."""

    def create(config: BackendConfig) -> Classifier:
        from engine.backends.classifier import TransformersClassifier

        return TransformersClassifier(config, tuple(heads))

    return create


def identity(path: str) -> str:
    """What stands for a model, adapter or weight file in a judge's hash: names, sizes and ends of its files, or the
    Hub's commit."""
    local = Path(path).expanduser()
    if not local.exists():
        return f"{path}@{hub_commit('/'.join(path.split('/')[:2]), None) or 'unknown'}"
    whole = hashlib.sha256()
    files = [local] if local.is_file() else sorted(p for p in local.iterdir() if p.suffix in WEIGHTS)
    for file in files:
        size = file.stat().st_size
        whole.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as opened:
            whole.update(opened.read(HEAD_AND_TAIL))
            if size > HEAD_AND_TAIL:
                opened.seek(-min(HEAD_AND_TAIL, size - HEAD_AND_TAIL), os.SEEK_END)
                whole.update(opened.read())
    return f"local-{whole.hexdigest()[:16]}"
