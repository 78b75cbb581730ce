"""Runs of the real command in processes of their own, killed on purpose, and what must hold afterwards.

A process belongs to a run if its environment holds the run's mark: Ray's daemons and workers, and an engine's own
processes, inherit it. So "no process of the run is alive" needs no list of names. SPT_NOENV: without it setproctitle
may write a title over the environment, mark and all, and vLLM's engine would be found or not as its strings fall.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.pipelines.conftest import journalled, rows

ROOT = Path(__file__).parents[2]
WORKER = "ray::MapWorker(MapBatches(GenerateWorker))"
ENGINE = "VLLM::EngineCore"


@dataclass
class Command:
    """One `engine.generate` process and everything below it."""

    arguments: list[str]
    out: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    process: subprocess.Popen[str] | None = None

    def start(self) -> Command:
        environment = {**os.environ, "ECSO_TEST_MARK": self.mark, "RAY_ADDRESS": "local", "SPT_NOENV": "1"}
        environment.pop("PYTEST_CURRENT_TEST", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine.generate", "--out", str(self.out), *self.arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self

    def wait(self, timeout: float = 240) -> tuple[int, str]:
        """(exit code, output); kills everything of the run where it does not end."""
        assert self.process is not None
        try:
            output, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.sweep()
            raise
        return self.process.returncode, output

    def wait_for_rows(self, at_least: int, timeout: float = 120) -> int:
        """Until so many rows are in the journal; how many are."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            found = count(self.out)
            if found >= at_least:
                return found
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the run ended with {found} rows: {self.process.communicate()[0]}")
            time.sleep(0.05)
        raise AssertionError(f"{count(self.out)} rows after {timeout} s, expected {at_least}")

    def pids(self, name: str = "") -> list[int]:
        """Living processes of this run (zombies are dead), with `name` in their title."""
        return [pid for pid in marked(self.mark) if name in title(pid)]

    def kill(self, name: str | None) -> int:
        """kill -9 the driver (None) or the first process whose title holds `name`; its pid."""
        assert self.process is not None
        until = time.monotonic() + 30
        found = [self.process.pid] if name is None else self.pids(name)
        while not found and time.monotonic() < until:  # between two incarnations there may be none
            time.sleep(0.1)
            found = self.pids(name or "")
        assert found, f"no {name} among {[title(pid)[:40] for pid in self.pids()]}, rows {count(self.out)}"
        pid = found[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def gone_within(self, seconds: float) -> list[str]:
        """Titles of what is still alive after that time."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.pids():
            time.sleep(0.2)
        return [f"{pid} {title(pid)}" for pid in self.pids()]

    def sweep(self) -> None:
        """End what is left, by id."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def marked(mark: str) -> list[int]:
    needle, found = f"ECSO_TEST_MARK={mark}".encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if needle in (entry / "environ").read_bytes() and " Z " not in (entry / "stat").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def count(out: Path) -> int:
    """Rows in the journal, by lines (a torn last line is no row yet)."""
    return sum(path.read_bytes().count(b"\n") for path in Path(out, "journal").glob("*.rows"))


def check_exactly_once(out: Path, expected: int, in_flight: int) -> dict[str, Any]:
    """0 lost, 0 twice, and no more repeated rows than were in flight at the kills."""
    sealed = rows(out, "transcripts")
    ids = [row["query_id"] for row in sealed]
    assert len(ids) == len(set(ids))
    assert len(ids) + sum(len(row["duplicate_keys"]) for row in sealed) == expected
    written = [row["query_id"] for row in journalled(out)]
    repeated = len(written) - len(set(written))
    assert set(written) == set(ids)
    assert repeated <= in_flight, f"{repeated} rows were answered twice, {in_flight} were in flight"
    return {"rows": expected, "repeated": repeated}
