"""How the command ends where nothing gets better by going on: a worker that dies whenever it starts, a model that fails
at most rows. One line says why, the exit code which of the two it was, and what was answered stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.conftest import journalled
from tests.registry.distribution import install

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
ILL = """
import os

from engine.backends.scripted import ScriptedBackend
from engine.errors import RequestError


class Dies(ScriptedBackend):
    async def start(self):
        os._exit(1)


class Fails(ScriptedBackend):
    async def generate(self, messages, sampling):
        if "3" in messages[-1].text:
            return await super().generate(messages, sampling)
        raise RequestError("the model is out of order")
"""


def generate(tmp_path: Path, backend: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    site = install(tmp_path / "site", "illness", {"backends": {"dies": "ill:Dies", "fails": "ill:Fails"}}, ill=ILL)
    lines = "".join(json.dumps({"query": f"Question {k}?"}) + "\n" for k in range(300))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/queries.jsonl").write_text(lines)
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
    assert json.loads((tmp_path / "out/manifest.json").read_text())["status"] == "partial"
