"""What one worker asks of the cluster: pure decisions, since no GPU is here to run them on."""

from __future__ import annotations

import os

import pytest

from engine.backends import BackendConfig
from engine.backends.scripted import ScriptedBackend
from pipelines.placement import NICENESS, bundles, cpus_of, missing_gpus, resources


def backend(name: str = "vllm", **changes: object) -> BackendConfig:
    return BackendConfig(name, "m", **changes)  # type: ignore[arg-type]


def test_tensor_parallel_is_one_bundle_a_gpu_and_the_actor_itself_holds_none() -> None:
    assert bundles(4) == [{"GPU": 1.0, "CPU": 1.0}] * 4
    asked = resources(backend(tensor_parallel=4, gpus=1.0), cpus=1)
    assert (asked["num_cpus"], asked["num_gpus"]) == (0, 0)
    assert callable(asked["ray_remote_args_fn"])


@pytest.mark.parametrize(
    ("config", "cpus", "expected"),
    [
        (backend(gpus=1.0), 1, {"num_cpus": 1, "num_gpus": 1.0}),
        (backend(gpus=0.5), 1, {"num_cpus": 1, "num_gpus": 0.5}),
        (backend(), 2, {"num_cpus": 2}),
    ],
)
def test_one_engine_a_worker(config: BackendConfig, cpus: int, expected: dict[str, float]) -> None:
    asked = resources(config, cpus)
    asked.pop("runtime_env")
    assert asked == expected


def test_only_what_runs_a_model_does_not_stand_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vllm", "transformers"):
        assert resources(backend(name), 1)["runtime_env"] == {"env_vars": {NICENESS: "0"}}
    assert resources(backend("openai"), 1) == resources(backend("scripted"), 1) == {"num_cpus": 1}
    monkeypatch.setenv(NICENESS, "7")
    assert resources(backend(), 1)["runtime_env"] == {"env_vars": {NICENESS: "7"}}


class Own(ScriptedBackend):
    """As somebody else would write one that runs a model."""

    runs_model = True


def test_a_backend_from_outside_says_whether_it_runs_a_model() -> None:
    own, plain = f"{__name__}:Own", "engine.backends.scripted:ScriptedBackend"
    assert cpus_of(backend(own), workers=1, cores=4) == 4
    assert cpus_of(backend(plain), workers=1, cores=4) == 1
    assert resources(backend(own), 4) == resources(backend(), 4)
    assert resources(backend(plain), 1) == {"num_cpus": 1}


@pytest.mark.ray
@pytest.mark.usefixtures("cluster")
def test_ray_heeds_it() -> None:
    import ray

    def niceness() -> int:
        return os.nice(0)

    asked = {"num_cpus": 0, "runtime_env": resources(backend(), 1)["runtime_env"]}
    mine, another = ray.remote(**asked)(niceness).remote(), ray.remote(num_cpus=0)(niceness).remote()
    assert ray.get(mine, timeout=120) < ray.get(another, timeout=120)


@pytest.mark.parametrize(
    ("config", "workers", "cores", "expected"),
    [
        (backend("transformers"), 1, 8, 8),
        (backend("transformers"), 3, 8, 2),
        (backend("vllm"), 4, 2, 1),
        (backend("vllm", gpus=1.0), 1, 8, 1),
        (backend("openai"), 1, 8, 1),
        (backend("scripted"), 1, 8, 1),
    ],
)
def test_models_on_the_cpu_share_the_cores(config: BackendConfig, workers: int, cores: int, expected: int) -> None:
    assert cpus_of(config, workers=workers, cores=cores) == expected


def test_a_cluster_without_the_gpus_is_told_of() -> None:
    """Ray waits for them without a word."""
    assert missing_gpus(backend(), {}) is None
    assert missing_gpus(backend(gpus=1.0), {"GPU": 1.0}) is None
    assert missing_gpus(backend(tensor_parallel=4, gpus=1.0), {"GPU": 4.0}) is None
    told = missing_gpus(backend(tensor_parallel=4, gpus=1.0), {"CPU": 8.0, "GPU": 2.0})
    assert told is not None
    assert "asks for 4, the cluster has 2" in told
    assert "--gpus-per-worker 0" in str(missing_gpus(backend(gpus=1.0), {"CPU": 8.0}))
