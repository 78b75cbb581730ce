"""From `annotate`'s flags to a judge over a run: all is resolved and checked before Ray or a model is touched."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as value
from typing import Any

from engine import backends, fingerprint
from engine.backends import BackendConfig
from engine.config import GenerateConfig
from engine.errors import UsageError
from engine.journal.manifest import read_manifest
from engine.judges import Judge, JudgeOptions, make
from engine.judges.base import FIELDS
from engine.judges.files import Key
from engine.planning import backend_config

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class AnnotateConfig:
    """`engine.annotate`. The model's flags are generate's own, described in `schemas/config.json`."""

    run: str
    judge: tuple[str, ...] = ()
    field: str | None = None
    """What is judged; None: what the judge judges by itself."""
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    trust_remote_code: bool = False
    backend: str = "auto"
    base_url: str | None = None
    api_key_env: str | None = None
    workers: int = 1
    gpus_per_worker: float | None = None
    tensor_parallel: int = 1
    engine_arg: Mapping[str, Any] = value(default_factory=dict)
    chat_template_kwargs: Mapping[str, Any] = value(default_factory=dict)
    picture_prep: str = "processor"
    seed: int = 0
    threshold: float = 0.5
    max_error_rate: float = 0.5
    force: bool = False
    allow_partial: bool = False
    scripted_harmful: float = 0.4
    benchmark: str | None = None
    """Whose rows these are, where `engine.evaluate` judges: the judge `llm` takes its prompt families from it."""


@dataclass(frozen=True, slots=True)
class JudgeSetup:
    """Everything a worker is made from: picklable, and the judge itself is made again from it."""

    out: str
    logs: str | None
    name: str
    options: JudgeOptions
    key: Key
    manifest: Mapping[str, Any]


def open_sealed(run: str, *, allow_partial: bool) -> dict[str, Any]:
    """The manifest. UsageError for a run that is not sealed, or partial and not allowed to be."""
    manifest = read_manifest(run)
    if manifest is None:
        raise UsageError(f"{run}: no manifest.json there: not a sealed run (generate seals at its end)")
    if manifest["status"] == "partial" and not allow_partial:
        raise UsageError(f"{run}: the run is partial; finish it with generate, or pass --allow-partial")
    return manifest


def split_name(given: str) -> tuple[str, str | None]:
    """`NAME` or `NAME=FILE`. UsageError for a name that is none."""
    name, sign, path = given.partition("=")
    if NAME.fullmatch(name) is None or (sign and not path):
        raise UsageError(f"--judge {given}: expected NAME or NAME=FILE, a name of lower-case letters, digits and _")
    return name, path or None


def check(config: AnnotateConfig) -> None:
    """UsageError for values that no judge can work with."""
    if not config.judge:
        raise UsageError("annotate needs at least one --judge NAME")
    if config.field is not None and config.field not in FIELDS:
        raise UsageError(f"--field {config.field}: expected one of {', '.join(FIELDS)}")
    if config.workers < 1:
        raise UsageError(f"--workers {config.workers}: expected at least 1")
    if not 0 < config.threshold < 1:
        raise UsageError(f"--threshold {config.threshold}: expected a number between 0 and 1")


def plan_judge(
    config: AnnotateConfig, name: str, manifest: Mapping[str, Any], file: str | None = None
) -> tuple[Judge, JudgeSetup]:
    """The judge and what its workers are made from. UsageError names what is missing."""
    options = options_of(config, file)
    judge = make(name, options)
    judged = config.field or judge.field
    if judged == "query" and judge.field != "query":
        raise UsageError(f"--field query: {name} judges responses; take one of {', '.join(FIELDS[:2])}")
    out = config.run if "://" in config.run else os.path.abspath(config.run)
    logs = None if "://" in out else os.path.join(out, "logs")
    key = Key(name, judge.version, judge.prompt_sha256, judged)
    needed = {name: manifest[name] for name in ("run_id", "files")}
    return judge, JudgeSetup(out, logs, name, options, key, needed)


def options_of(config: AnnotateConfig, file: str | None = None) -> JudgeOptions:
    """What a judge is made from: the model that the flags name, or none."""
    given = JudgeOptions(threshold=config.threshold, file=file, benchmark=config.benchmark)
    if not config.model and config.backend != "scripted":
        return given
    name = backends.resolve(config.backend, config.gpus_per_worker or 0.0)
    if name == "openai" and not config.base_url:
        raise UsageError("--backend openai needs --base-url (the address of the server, ending in /v1)")
    asked = GenerateConfig(model=config.model or "scripted", revision=config.revision, backend=name)
    load, model, revision = fingerprint.resolve_model(asked, name)
    revision = fingerprint.adapted_revision(config.adapter, load, model, revision)
    backend = backend_config(config, name, load, longest_answer=16)
    return replace(given, backend=backend, model_label=_label(backend, model, revision))


def _label(backend: BackendConfig, model: str, revision: str | None) -> str:
    """Model, revision and backend, and a hash of the settings that can change a verdict, where there are any."""
    settings = {
        "engine_args": dict(backend.engine_args),
        "chat_template_kwargs": dict(backend.chat_template_kwargs),
        "picture_prep": backend.picture_prep,
    }
    text = json.dumps(settings, sort_keys=True, default=lambda found: getattr(found, "__qualname__", str(found)))
    label = f"{model}@{revision or 'unknown'} {backend.name}"
    if not backend.engine_args and not backend.chat_template_kwargs and backend.picture_prep == "processor":
        return label
    return f"{label} settings={hashlib.sha256(text.encode()).hexdigest()[:8]}"
