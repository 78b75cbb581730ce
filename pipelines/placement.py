"""What one worker asks of the cluster: CPUs and GPUs, or a placement group for a model spread over several GPUs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from engine.backends import BackendConfig, runs_model

NICENESS = "RAY_worker_niceness"
"""Ray's own setting: how far its worker processes stand back behind all others on a node (15)."""


def bundles(tensor_parallel: int) -> list[dict[str, float]]:
    """One bundle a GPU, packed on one node: tensor parallelism talks over NVLink. Pure, so tested without a GPU."""
    return [{"GPU": 1.0, "CPU": 1.0} for _ in range(tensor_parallel)]


def cpus_of(backend: BackendConfig, *, workers: int, cores: int) -> int:
    """Logical CPUs of one worker. Ray gives an actor as many OpenMP threads as it has CPUs, so a model that runs on
    the CPU gets its share of the cores; any other worker waits for somebody else's work."""
    if backend.gpus or not runs_model(backend.name):
        return 1
    return max(1, cores // workers)


def resources(backend: BackendConfig, cpus: int) -> dict[str, Any]:
    """Keyword arguments for `map_batches`. Tensor parallel: the actor itself holds no GPU, its engine's workers do.

    A worker that runs a model does not stand back behind Ray's readers and trackers, as Ray's workers do: its engine
    inherits that, and two threads that compute together both wait whenever one of them is put off.
    """
    asked: dict[str, Any] = {"num_cpus": cpus}
    if backend.tensor_parallel > 1:
        asked = {"num_cpus": 0, "num_gpus": 0, "ray_remote_args_fn": _Group(backend.tensor_parallel)}
    elif backend.gpus:
        asked["num_gpus"] = backend.gpus
    if runs_model(backend.name):
        asked["runtime_env"] = {"env_vars": {NICENESS: os.environ.get(NICENESS, "0")}}
    return asked


def missing_gpus(backend: BackendConfig, there: Mapping[str, float]) -> str | None:
    """What to say where not even one engine can be placed now (`there`: the cluster's resources), else None. Ray itself
    waits without a word; a cluster that grows by itself may well get its GPUs only when they are asked for."""
    asked = float(backend.tensor_parallel) if backend.tensor_parallel > 1 else backend.gpus
    found = there.get("GPU", 0.0)
    if found >= asked:
        return None
    return (
        f"waiting for GPUs: an engine asks for {asked:g}, the cluster has {found:g} at present "
        "(--gpus-per-worker 0 runs on CPUs)"
    )


def reader_cpus(there: Mapping[str, float], taken: float) -> float:
    """What a read task asks for: half a CPU, which also keeps Ray from fusing reading into the workers, where it would
    stall the engine; nothing where the workers take all that the cluster has, and a reader would wait for ever."""
    return 0.5 if there.get("CPU", 0.0) >= taken + 0.5 else 0.0


_groups: list[Any] = []


def remove_groups() -> None:
    """Give back what the placement groups of a run hold: they outlive their actors, and the next run in this process
    would wait for their GPUs."""
    import ray

    while _groups:
        ray.util.remove_placement_group(_groups.pop())


class _Group:
    """A fresh placement group for each actor (picklable, unlike a closure over one group)."""

    def __init__(self, tensor_parallel: int) -> None:
        self._tensor_parallel = tensor_parallel

    def __call__(self) -> dict[str, Any]:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        group = ray.util.placement_group(bundles(self._tensor_parallel), strategy="STRICT_PACK")
        _groups.append(group)
        return {
            "scheduling_strategy": PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_capture_child_tasks=True
            )
        }
