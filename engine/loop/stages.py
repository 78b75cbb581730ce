"""Stages: one command of the engine each, with the section of the configuration that it is given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Section = Mapping[str, Any]
PRODUCTS = {
    "generate": "manifest.json",
    "curate": "curation.json",
    "train": "training.json",
    "evaluate": "scores.json",
    "match": "curation.json",
    "draw": "drawn.json",
}
"""Command -> the file that it writes last: a stage without it is not done, whatever the state says."""


@dataclass(frozen=True, slots=True)
class Model:
    """What answers: a model, and an adapter on top of it."""

    path: str
    adapter: str | None = None

    def keys(self) -> dict[str, str]:
        """As generate and evaluate are told."""
        return {"model": self.path} if self.adapter is None else {"model": self.path, "adapter": self.adapter}


@dataclass(frozen=True, slots=True)
class Stage:
    """`command` with one section of a configuration, and for curate the runs that it reads."""

    name: str
    command: str
    section: Section
    out: Path
    runs: tuple[str, ...] = ()

    @property
    def product(self) -> Path:
        return self.out / PRODUCTS[self.command]

    @property
    def file_name(self) -> str:
        """The stage in the name of a file."""
        return self.name.replace("/", "_")

    def digest(self, root: Path) -> str:
        """Of all that the stage is told, wherever the loop's folder stands."""
        text = json.dumps([self.command, dict(self.section), list(self.runs)], sort_keys=True)
        return hashlib.sha256(text.replace(str(root), "OUT").encode()).hexdigest()


def merged(*sections: Section) -> dict[str, Any]:
    """Later sections override earlier ones, key by key."""
    whole: dict[str, Any] = {}
    for section in sections:
        whole |= section
    return whole


def generate(name: str, section: Section, model: Model, out: Path, seed: int, **more: Any) -> Stage:
    """Answers only: curation is a stage of its own."""
    told = merged({"strategy": "ecso"}, section, model.keys(), {"seed": seed, "no_curate": True, "out": str(out)}, more)
    return Stage(name, "generate", told, out)


def curate(name: str, section: Section, runs: tuple[Path, ...], out: Path) -> Stage:
    return Stage(name, "curate", merged(section, {"out": str(out)}), out, tuple(str(run) for run in runs))


def train(name: str, section: Section, data: Path, start: Model, out: Path, seed: int) -> Stage:
    """Resumes from its own last checkpoint after a kill."""
    told = merged(section, {"data": str(data), "model": start.path, "seed": seed, "out": str(out), "resume": True})
    return Stage(name, "train", told, out)


def trained(stage: Stage) -> Model:
    """The model that a train stage leaves."""
    if stage.section.get("adapter_only"):
        return Model(str(stage.section["model"]), str(stage.out))
    return Model(str(stage.out))


def evaluate(name: str, section: Section, model: Model, out: Path, strategies: list[str], label: str) -> Stage:
    told = merged(section, model.keys(), {"strategy": strategies, "name": label, "out": str(out)})
    return Stage(name, "evaluate", told, out)
