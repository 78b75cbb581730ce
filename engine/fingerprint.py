"""The fingerprint of a run: everything that can change an answer, in one canonical hash.

Not part of it: out, workers, GPUs, limit, resume, progress, retry-errors, drain, error rate. The README has the table.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.backends import BACKENDS, adapters
from engine.config import GenerateConfig
from engine.errors import UsageError
from engine.registry import facts_of
from engine.sources import SOURCES
from engine.strategies import STRATEGIES, WITH_PRESET, prompt_set
from engine.version import SCHEMA_VERSION

SCHEME = 1
"""Raised when this file changes what is hashed."""
PUBLISHED = ("query", "closed")
"""ECSO as published (`--caption`, `--eyes`)."""
HEAD_AND_TAIL = 1 << 20
"""Bytes at each end of a weight file that stand for it: a hash of 14 GB would cost a minute at every start."""


def canonical(value: object) -> str:
    """JSON with sorted keys. TypeError for anything without a stable text (a set, an object)."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def fields(config: GenerateConfig, *, backend: str, model: str, revision: str | None) -> dict[str, Any]:
    """What is hashed, by name, so that a mismatch can be shown field by field."""
    found: dict[str, Any] = {
        "scheme": SCHEME,
        "schema_version": SCHEMA_VERSION,
        "model": model,
        "model_revision": revision,
        "backend": backend,
        "engine_arg": dict(config.engine_arg),
        "chat_template_kwargs": dict(config.chat_template_kwargs),
        "picture_prep": config.picture_prep,
        "strategy": config.strategy,
        "preset": config.preset if config.strategy in WITH_PRESET else "",
        "retries": config.retries,
        "max_tokens": config.max_tokens,
        "seed": config.seed,
        "prompt_set_sha256": prompt_set(config.strategy, config.caption),
        "queries": config.queries,
        "split": config.split,
        "columns": dict(config.columns),
    }
    # Named only where they differ from the method: runs from before there were such options stay resumable.
    found |= {
        name: value
        for name, value in {"caption": config.caption, "eyes": config.eyes}.items()
        if value not in PUBLISHED
    }
    if config.where:  # two choices of rows are two runs, each with a folder of its own
        found["where"] = dict(config.where)
    found |= _strangers(config, backend)
    if "strategy_from" in found:
        found |= _strangers_options(config)
    if config.strategy == "eta":
        found |= {"eta_pre": config.eta_pre, "eta_post": config.eta_post}
    if config.calibration:
        from engine.calibration.document import load

        calibration = load(config.calibration)
        found |= {"calibration": calibration.fingerprint(), "threshold": calibration.threshold}
    if config.adapter is not None:
        found["adapter"] = adapters.read(config.adapter).digest
    if backend == "scripted":
        found["scripted_harmful"] = config.scripted_harmful
    return found


def _strangers(config: GenerateConfig, backend: str) -> dict[str, Any]:
    """Parts from outside the engine: distribution, version, target and the digest of their code, each under a name."""
    every = {
        "strategy_from": facts_of("strategies", config.strategy, STRATEGIES),
        "queries_from": facts_of("sources", config.queries, SOURCES),
        "backend_from": facts_of("backends", backend, BACKENDS),
    }
    return {name: facts for name, facts in every.items() if facts is not None}


def _strangers_options(config: GenerateConfig) -> dict[str, Any]:
    """Options that only some built-in strategies read: one from outside is handed them too. Named where they differ."""
    usual = GenerateConfig()
    named = {name: getattr(config, name) for name in ("preset", "eta_pre", "eta_post")}
    changed = {name: value for name, value in named.items() if value != getattr(usual, name)}
    return {"strategy_options": changed} if changed else {}


def digest(found: Mapping[str, Any]) -> str:
    """64 hex digits over the canonical JSON of the fields."""
    return hashlib.sha256(canonical(dict(found)).encode()).hexdigest()


def resolve_model(config: GenerateConfig, backend: str) -> tuple[str, str, str | None]:
    """(what to load, the name to show, revision). `tiny` is the embedded model; a folder's revision is a digest of it.

    Raises UsageError where a folder holds no model.
    """
    if backend == "scripted":
        return "scripted", "scripted", None
    if backend == "openai":
        return config.model, config.model, config.revision
    if config.model == "tiny":
        from engine.tiny import MODEL_DIR

        return str(MODEL_DIR), "tiny", folder_digest(MODEL_DIR)
    path = Path(config.model).expanduser()
    if path.is_dir():
        return str(path), path.name, folder_digest(path)
    if config.model.startswith((".", "/", "~")) or config.model.count("/") != 1:
        raise UsageError(f"--model {config.model}: no such folder; give tiny, a model folder, or a Hub id ORG/NAME")
    return config.model, config.model, hub_commit(config.model, config.revision)


def adapted_revision(adapter: str | None, load: str, model: str, revision: str | None) -> str | None:
    """The model's revision with the adapter's digest behind it. UsageError where the adapter is for another model."""
    if adapter is None:
        return revision
    found = adapters.read(adapter)
    adapters.check_base(found, load, model, revision)
    return f"{revision or 'unknown'}+adapter-{found.digest}"


def folder_digest(folder: Path) -> str:
    """`local-` + 16 hex digits over the names, sizes and content of the folder's files (ends only, above 2 MiB)."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"--model {folder}: no config.json there, so it is no model folder")
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in MODEL_FILES):
        size = path.stat().st_size
        whole.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= 2 * HEAD_AND_TAIL:
                whole.update(file.read())
            else:
                whole.update(file.read(HEAD_AND_TAIL))
                file.seek(-HEAD_AND_TAIL, os.SEEK_END)
                whole.update(file.read())
    return "local-" + whole.hexdigest()[:16]


MODEL_FILES = (".json", ".jinja", ".safetensors", ".model", ".txt", ".bin")


def hub_commit(model: str, revision: str | None) -> str | None:
    """The commit that a Hub id stands for: from the Hub, else from the local cache, else the revision as given."""
    try:
        import huggingface_hub as hub
    except ImportError:
        return revision
    try:
        return str(hub.HfApi().model_info(model, revision=revision, timeout=20).sha)
    except Exception:  # noqa: BLE001 (offline, gated or unknown: loading the model will say which)
        reference = Path(hub.constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}/refs/{revision or 'main'}"
        return reference.read_text().strip() if reference.is_file() else revision
