"""The rendered job, for real: `ray job submit` to a Ray head of our own, killed once, resumed, and twice scheduled."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import GenerateConfig, JobConfig
from engine.jobs.spec import spec_of
from pipelines.jobs.render import render
from pipelines.lean import LEAN
from tests.pipelines.conftest import folder_of, journalled, rows

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.kill]
ROOT = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).parent / "ray")
DRAIN_S = 20


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Head:
    """A Ray head with a dashboard, as a cluster that others started."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.port, self.dashboard = free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.dashboard}"
        kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self.environment = {
            **kept,
            **LEAN,
            # Workers that nobody asked for, eight of them at the first driver: on two cores they cost half a minute.
            "RAY_prestart_worker_first_driver": "0",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(base / "ray"),
            # Ray's token authentication, with a token of this test's own.
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        # --block: the head is a child of this test, and ends with it.
        command = [RAY, "start", "--head", "--block", "--num-cpus=4", f"--port={self.port}"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}", "--disable-usage-stats"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=200000000", "--min-worker-port=0"]
        command += ["--max-worker-port=0", f"--dashboard-agent-listen-port={free_port()}"]
        self.log = (base / "head.log").open("w")
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )

    def ask(self, path: str) -> Any:
        """One answer of the dashboard."""
        token = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        request = urllib.request.Request(self.address + path, headers=token)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def job(self, *arguments: str) -> str:
        done = subprocess.run(
            [RAY, "job", *arguments, "--address", self.address],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.stdout + done.stderr

    def wait_until_up(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                self.ask("/api/jobs/")
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError((self.base / "head.log").read_text()[-2000:])

    def submit(self, script: Path) -> str:
        """Run the rendered script without waiting; the id of the submission."""
        done = subprocess.run(
            ["bash", str(script), "--no-wait"],
            env={**self.environment, "RAY_DASHBOARD": self.address},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = re.search(r"raysubmit_\w+", done.stdout)
        assert found, done.stdout
        return found[0]

    def logs(self, submission: str) -> str:
        return str(self.ask(f"/api/jobs/{submission}/logs")["logs"])

    def status(self, submission: str) -> str:
        return str(self.ask(f"/api/jobs/{submission}")["status"])

    def finish(self, submission: str, timeout_s: float = 120) -> str:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            found = self.status(submission)
            if found in ("SUCCEEDED", "FAILED", "STOPPED"):
                return found
            time.sleep(0.1)
        raise AssertionError(self.logs(submission)[-3000:])

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=6)
        except subprocess.TimeoutExpired:
            self.process.kill()
        # Whatever of the head's own session is left.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.log.close()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    import tempfile

    # A short path: Ray's sockets have names of at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ecso-", dir="/tmp") as base:
        found = Head(Path(base))
        try:
            found.wait_until_up()
            yield found
        finally:
            found.close()


def lines(start: int, stop: int) -> list[dict[str, Any]]:
    return [{"image": f"{k % 4}.png", "text": f"What is sock number {k} made of?"} for k in range(start, stop)]


def script(base: Path, source: Path, **changes: Any) -> Path:
    """The job, rendered by the engine itself."""
    generate = {
        "queries": "folder",
        "path": str(source),
        "backend": "scripted",
        "since_last": True,
        "out": str(base / "root"),
        "drain_s": DRAIN_S,
        "engine_arg": {"capacity": 2},
        **changes,
    }
    sections = {"generate": generate}
    file = base / "job.sh"
    file.write_text(render(spec_of(JobConfig(target="ray"), GenerateConfig(**generate), sections)))
    return file


def test_submitted_killed_resumed_and_scheduled(head: Head, tmp_path: Path) -> None:
    root = tmp_path / "root"
    source = folder_of(tmp_path / "in", lines(0, 120))
    slow = script(tmp_path, source, scripted_latency_ms=150)

    # Started, and stopped in the middle: SIGTERM, then up to drain_s + 30 before the kill.
    first = head.submit(slow)
    until = time.monotonic() + 90
    while len(journalled(root / "v0001")) < 6 if (root / "v0001/journal").exists() else True:
        assert time.monotonic() < until, head.logs(first)[-3000:]
        assert head.status(first) in ("PENDING", "RUNNING"), head.logs(first)[-3000:]
        time.sleep(0.1)
    head.job("stop", "--no-wait", first)
    assert head.finish(first) == "STOPPED"
    said = head.logs(first)
    assert "draining" in said
    partial = json.loads((root / "v0001/manifest.json").read_text())
    assert partial["status"] == "partial"
    answered = {row["query_id"] for row in rows(root / "v0001", "transcripts")}
    assert 6 <= len(answered) < 120
    assert not (root / "v0002").exists()

    # The same script again resumes in the same version, and asks nothing twice.
    quick = script(tmp_path, source, scripted_latency_ms=0)
    second = head.submit(quick)
    assert head.finish(second) == "SUCCEEDED", head.logs(second)[-3000:]
    sealed = json.loads((root / "v0001/manifest.json").read_text())
    assert (sealed["status"], sealed["run_id"]) == ("complete", partial["run_id"])
    journal = [row["query_id"] for row in journalled(root / "v0001")]
    assert len(journal) == len(set(journal)) == 120
    assert answered <= set(journal)
    assert (root / "curation.json").exists()

    # Scheduled again with ten new rows, and twice at once: the second start skips.
    before = (root / "v0001/manifest.json").read_bytes()
    folder_of(tmp_path / "in", lines(0, 130))
    slow = script(tmp_path, source, scripted_latency_ms=300)
    third = head.submit(slow)
    until = time.monotonic() + 60
    while not (root / "v0002/journal").exists():
        assert time.monotonic() < until, head.logs(third)[-3000:]
        time.sleep(0.2)
    fourth = head.submit(slow)
    assert head.finish(fourth) == "SUCCEEDED"
    assert "already running" in head.logs(fourth)
    assert head.finish(third) == "SUCCEEDED", head.logs(third)[-3000:]
    second_version = rows(root / "v0002", "transcripts")
    assert len(second_version) == 10
    assert not {row["query_id"] for row in second_version} & set(journal)
    assert (root / "v0001/manifest.json").read_bytes() == before
    document = json.loads((root / "lineage.json").read_text())
    assert [(each["version"], each["counts"]["read"]) for each in document["versions"]] == [
        ("v0001", 120),
        ("v0002", 10),
    ]
    assert json.loads((root / "curation.json").read_text())["counts"]["read"] == 130
    assert yaml.safe_load(quick.read_text().split("<<'ECSO_CONFIG_END'\n")[1].split("ECSO_CONFIG_END\n")[0])
