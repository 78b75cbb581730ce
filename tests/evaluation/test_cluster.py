"""One cluster for many runs, in a process of its own (the other tests' cluster was there before)."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.evaluation import StoppedError

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import ray
from pipelines import cluster

def session():
    return ray.get_runtime_context().get_node_id()

with cluster.shared():
    assert not ray.is_initialized()  # nothing joined, nothing started
    with cluster.joined(slots=3, logs=None):
        first = session()
    assert ray.is_initialized()  # left to the next one
    with cluster.joined(slots=2, logs=None):
        assert session() == first
    with cluster.joined(slots=9, logs=None):
        assert session() != first  # it had too few slots
        assert ray.cluster_resources()["CPU"] >= 9
assert not ray.is_initialized()
print("shared")
"""


@pytest.mark.ray
@pytest.mark.slow
def test_runs_share_a_cluster() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.stdout.strip() == "shared", done.stderr[-2000:]


def test_an_interruption_keeps_its_exit_code() -> None:
    error = pickle.loads(pickle.dumps(StoppedError("stopped (signal SIGTERM)", 143)))
    assert (error.exit_code, str(error)) == (143, "stopped (signal SIGTERM)")
