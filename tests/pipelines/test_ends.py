"""How the command ends where nothing gets better by going on: a worker that dies whenever it starts, a model that fails
at most rows. One line says why, the exit code which of the two it was, and what was answered stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config import GenerateConfig
from engine.planning import plan_job
from tests.pipelines.conftest import folder_of, journalled
from tests.registry.distribution import install

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
ILL = """
import os

from engine.backends.scripted import ScriptedBackend
from engine.errors import EngineDeadError, RequestError


class Dies(ScriptedBackend):
    async def start(self):
        os._exit(1)


class Fails(ScriptedBackend):
    async def generate(self, messages, sampling):
        if "3" in messages[-1].text:
            return await super().generate(messages, sampling)
        raise RequestError("the model is out of order")


class Poisoned(ScriptedBackend):
    async def generate(self, messages, sampling):
        if "Question 7?" in messages[-1].text:
            raise EngineDeadError("illegal memory access")
        return await super().generate(messages, sampling)
"""
CROWDED = """
import sys

import ray

from engine.config import GenerateConfig
from pipelines.run import run

ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
manifest = run(GenerateConfig(backend="scripted", workers="2", limit=40, out=sys.argv[1]))
print("STATUS", manifest["status"], manifest["counts"]["read"])
"""


def generate(tmp_path: Path, backend: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    backends = {"dies": "ill:Dies", "fails": "ill:Fails", "poisoned": "ill:Poisoned"}
    site = install(tmp_path / "site", "illness", {"backends": backends}, ill=ILL)
    folder_of(tmp_path / "src", [{"query": f"Question {k}?", "image": f"{k % 4}.png"} for k in range(300)])
    command = [sys.executable, "-m", "engine.generate", "--backend", backend, "--model", "tiny", *arguments]
    command += ["--queries", "folder", "--path", str(tmp_path / "src"), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "RAY_ADDRESS": "local"}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)


def test_a_worker_that_dies_whenever_it_starts(tmp_path: Path) -> None:
    done = generate(tmp_path, "dies")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "3 workers in a row ended before they were ready" in done.stderr


def test_a_model_that_fails_at_most_rows(tmp_path: Path) -> None:
    done = generate(tmp_path, "fails")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "the model is out of order" in done.stderr
    assert "RequestError" in done.stderr
    written = journalled(tmp_path / "out")
    assert {row["status"] for row in written} <= {"ok", "error"}
    assert json.loads((tmp_path / "out/manifest.json").read_text())["counts"]["error"] > 0


def test_a_row_that_kills_every_engine_is_an_error(tmp_path: Path) -> None:
    """It is asked three times, and the others are answered."""
    done = generate(tmp_path, "poisoned", "--engine-arg", "capacity=8")
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert (manifest["counts"]["ok"], manifest["counts"]["error"]) == (299, 1)
    (failed,) = [row for row in journalled(tmp_path / "out") if row["status"] == "error"]
    assert (failed["query"], failed["error_type"]) == ("Question 7?", "EngineDeadError")
    assert "died 3 times" in failed["error_message"]


def test_workers_that_take_all_of_a_cluster_leave_readers_to_work(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CROWDED, str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert "STATUS complete 40" in done.stdout, done.stdout + done.stderr


@pytest.mark.usefixtures("cluster")
def test_a_node_without_the_output_folder_is_told(tmp_path: Path) -> None:
    """Else its answers would stay on its own disk, acknowledged and never sealed."""
    import ray

    from pipelines import control
    from pipelines.worker import GenerateWorker

    job = plan_job(GenerateConfig(backend="scripted", limit=4, out=str(tmp_path / "not here")))
    handle = control.start()
    worker = GenerateWorker(job.setup("run"), handle)
    assert worker._stopping.is_set()
    reason, message, _ = ray.get(handle.state.remote())
    assert reason == "fatal"
    assert "folder that all nodes share" in str(message)
    ray.kill(handle)
