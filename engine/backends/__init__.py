"""Backends by name: one line each, imported only when asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import cast

from engine.backends.base import Backend, BackendConfig, BackendStats
from engine.errors import UsageError

BACKENDS = {
    "vllm": "engine.backends.vllm:VllmBackend",
    "transformers": "engine.backends.transformers:TransformersBackend",
    "openai": "engine.backends.openai:OpenAIBackend",
    "scripted": "engine.backends.scripted:ScriptedBackend",
}

__all__ = ["BACKENDS", "Backend", "BackendConfig", "BackendStats", "create", "resolve"]


def resolve(name: str) -> str:
    """`auto` becomes vllm where vLLM is installed (a GPU build needs a GPU), else transformers.

    Raises UsageError for an unknown name.
    """
    if name == "auto":
        return "vllm" if find_spec("vllm") is not None else "transformers"
    if name not in BACKENDS:
        raise UsageError(f"--backend {name}: unknown; choose one of auto, {', '.join(BACKENDS)}")
    return name


def create(config: BackendConfig) -> Backend:
    """The backend of `config.name`, not yet started."""
    module, _, cls = BACKENDS[config.name].partition(":")
    return cast(Backend, getattr(import_module(module), cls)(config))
