"""A cluster of one run has our actors and no others; what stands in for Ray's own is gone when it ends."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pipelines import lean
from pipelines.cluster import QUIET
from tests.chaos.harness import ROOT

PLACES = [
    ("ray._private.node:Node", "start_log_monitor"),
    ("ray._private.node:Node", "start_monitor"),
    ("ray._private.node:Node", "start_api_server"),
    ("ray._private.services", "ConsolePopen"),
    ("ray._private.utils", "get_dashboard_dependency_error"),
    ("ray.data._internal.stats", "get_or_create_stats_actor"),
    ("ray.data._internal.stats:_StatsManager", "gen_dataset_id_from_stats_actor"),
    (
        "ray.data._internal.execution.operators.actor_pool_map_operator",
        "get_or_create_actor_location_tracker",
    ),
    ("ray.data._internal.execution.operators.actor_pool_map_operator", "get_actor_locations"),
    ("ray.data._internal.cluster_autoscaler.rate_based_cluster_autoscaler", "DefaultAutoscalingCoordinator"),
]

ONE_RUN = """
import os
import sys
from pathlib import Path

import ray
from ray._private.state import actors

from engine.config import GenerateConfig
from engine.journal.index import done
from engine.planning import plan_job
from engine.progress import Tally
from pipelines.cluster import QUIET, joined
from pipelines.generation import execute

job = plan_job(GenerateConfig(backend="scripted", limit=40, out=sys.argv[1]))
with joined(slots=3, logs=sys.argv[1] + "/logs"):
    tally = Tally(job.plan.total)
    stop = execute(job, "run", done(sys.argv[1]), tally)
    assert stop.error is None, stop.error
    assert tally.rows == 40, tally.rows
    environment = ray.remote(num_cpus=0)(lambda: dict(os.environ)).remote()
    assert ray.get(environment).items() >= QUIET.items()
    names = sorted(actor["ActorClassName"] for actor in actors().values())
    daemons = sorted(ray._private.worker._global_node.all_processes)
print("ACTORS", names)
print("DAEMONS", daemons)
"""


def _at(place: str, name: str) -> Any:
    module, _, inner = place.partition(":")
    owner = import_module(module)
    return vars(getattr(owner, inner) if inner else owner)[name]


@pytest.mark.parametrize(("place", "name"), PLACES, ids=[name for _, name in PLACES])
def test_ray_has_the_names(place: str, name: str) -> None:
    """Fails with a version of Ray that calls one of them otherwise: then a run would start what it does not need."""
    before = _at(place, name)
    with lean.daemons(), lean.helpers():
        assert _at(place, name) is not before
    assert _at(place, name) is before


@pytest.mark.ray
def test_a_run_has_no_other_actors(tmp_path: Path) -> None:
    """And it tells nobody: no telemetry of Ray's, vLLM's or the Hub's in any process."""
    command = [sys.executable, "-c", ONE_RUN, str(tmp_path / "out")]
    plain = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=plain)
    assert done.returncode == 0, done.stderr[-3000:]
    (actors,) = [line for line in done.stdout.splitlines() if line.startswith("ACTORS")]
    assert actors.count("'") == 4, actors
    assert "Control" in actors
    assert "GenerateWorker" in actors
    (daemons,) = [line for line in done.stdout.splitlines() if line.startswith("DAEMONS")]
    assert daemons == "DAEMONS ['gcs_server', 'raylet']"


def test_nobody_takes_every_call() -> None:
    nobody = pickle.loads(pickle.dumps(lean.Nobody()))
    assert nobody.update_actor_location.remote("a", node="b") is None


def test_unknown_names_are_left_out() -> None:
    with lean._instead("ray.no_such_module", "name", 1), lean._instead("pipelines.lean", "no_such_name", 1):
        assert not hasattr(lean, "no_such_name")


def test_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    patient = lean.Patient()
    patient.sleep(0.01)
    patient.sleep(3)
    assert slept == [lean.CONSUMER_LOOKS_EVERY_S, 3]
    assert patient.monotonic() <= time.monotonic()


def test_the_driver_looks_less() -> None:
    from ray.data._internal.execution import streaming_executor_state as state

    assert hasattr(state, "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S")
    lean.look_less()
    lean.look_less()
    assert state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S == lean.DRIVER_LOOKS_EVERY_S
    assert isinstance(state.time, lean.Patient)
