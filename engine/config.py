"""One configuration: flag > file > default, checked against `schemas/config.json` before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemas
from engine.errors import UsageError

SECTIONS = ("generate", "curate", "train", "evaluate", "loop", "publish", "calibrate")


@dataclass(frozen=True, slots=True)
class GenerateConfig:
    """`engine.generate`: field for field `schemas/config.json#generate`, where each is described."""

    queries: str = "sample"
    path: str | None = None
    split: str | None = None
    limit: int | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    source_revision: str | None = None
    model: str = "tiny"
    revision: str | None = None
    trust_remote_code: bool = False
    backend: str = "auto"
    base_url: str | None = None
    api_key_env: str | None = None
    strategy: str = "ecso"
    preset: str = "robust"
    retries: int = 2
    max_tokens: int = 1024
    workers: str = "1"
    gpus_per_worker: float | None = None
    tensor_parallel: int = 1
    engine_arg: Mapping[str, Any] = field(default_factory=dict)
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    picture_prep: str = "processor"
    resume: str = "auto"
    retry_errors: bool = False
    if_running: str = "fail"
    max_error_rate: float = 0.5
    drain_s: float = 60
    seed: int = 0
    target_accepted: int | None = None
    max_candidates: int | None = None
    scripted_harmful: float = 0.4
    scripted_latency_ms: float = 0
    validate_all: bool = False
    no_curate: bool = False
    out: str | None = None

    @property
    def pool(self) -> tuple[int, int]:
        """(min, max) engines; UsageError where they make no sense."""
        low, _, high = self.workers.partition(":")
        pool = int(low), int(high or low)
        if not 1 <= pool[0] <= pool[1]:
            raise UsageError(f"--workers {self.workers}: expected N or MIN:MAX with 1 <= MIN <= MAX")
        return pool


@dataclass(frozen=True, slots=True)
class CurateConfig:
    """`engine.curate`: field for field `schemas/config.json#curate`, where each is described."""

    out: str | None = None
    allow_partial: bool = False
    filters: Sequence[str | Mapping[str, Mapping[str, Any]]] | None = None
    annotations: Sequence[str] = ()
    dedup: Mapping[str, Any] | bool = field(default_factory=dict)
    leakage: str = "drop"
    leakage_index: Sequence[str] = ()
    max_share: float = 0.1
    least_rows: int = 50
    cap_category: Mapping[str, int] = field(default_factory=dict)
    cap_source: Mapping[str, int] = field(default_factory=dict)
    safe_to_unsafe: float | None = None
    counterfactuals: str | None = None
    workers: int = 2
    report: bool = True


def read_section(path: str, section: str) -> dict[str, Any]:
    """One section of a YAML file. UsageError: unreadable, not YAML, an unknown section or key, a wrong value."""
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text("utf-8")) or {}
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not YAML: {error}") from error
    check(document, where=f"--config {path}")
    return dict(document.get(section) or {})


def check(document: object, *, where: str) -> None:
    """UsageError naming every bad field, unless `document` matches the config schema."""
    try:
        schemas.check("config", document, where=where)
    except schemas.SchemaError as error:
        raise UsageError(str(error)) from error


def merge(section: str, flags: Mapping[str, Any], file: str | None) -> dict[str, Any]:
    """File values overridden by the flags that were given, checked as one section."""
    values = read_section(file, section) if file else {}
    values.update(flags)
    check({section: values}, where="flags" if file is None else f"--config {file} and flags")
    return values
