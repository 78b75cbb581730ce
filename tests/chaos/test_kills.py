"""kill -9, SIGTERM and Ctrl-C on the real command: nothing lost, nothing twice, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.chaos.harness import WORKER, Command, check_exactly_once, count
from tests.pipelines.conftest import rows

pytestmark = [pytest.mark.kill, pytest.mark.ray, pytest.mark.slow]
IN_FLIGHT = 24
SCRIPTED = ["--backend", "scripted", "--scripted-latency-ms", "100", "--engine-arg", f"capacity={IN_FLIGHT}"]
TOTAL = 650


def total(out: Path) -> int:
    return int(json.loads((out / "manifest.json").read_text())["counts"]["read"])


def test_the_driver_is_killed_and_the_next_run_goes_on(tmp_path: Path) -> None:
    first = Command(SCRIPTED, tmp_path / "out").start()
    first.wait_for_rows(60)
    first.kill(None)
    left = first.gone_within(10)
    first.sweep()
    assert not left
    finished = count(tmp_path / "out")
    code, output = Command(SCRIPTED, tmp_path / "out").start().wait()
    assert code == 0, output
    assert f" {finished:,} done" in output
    check_exactly_once(tmp_path / "out", total(tmp_path / "out"), IN_FLIGHT)


def test_an_actor_is_killed_and_the_same_run_goes_on(tmp_path: Path) -> None:
    command = Command(SCRIPTED, tmp_path / "out").start()
    command.wait_for_rows(60)
    command.kill(WORKER)
    code, output = command.wait()
    assert code == 0, output
    assert len(list((tmp_path / "out/journal").glob("*.rows"))) == 2
    check_exactly_once(tmp_path / "out", total(tmp_path / "out"), IN_FLIGHT)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_drain(tmp_path: Path, number: signal.Signals, expected: int) -> None:
    """Rows in flight are finished and sealed as a valid partial set; the same command goes on."""
    command = Command([*SCRIPTED, "--drain-s", "30"], tmp_path / "out").start()
    command.wait_for_rows(60)
    assert command.process is not None
    start = time.monotonic()
    # A terminal sends Ctrl-C to the whole group, and service managers SIGTERM: Ray's daemons must outlive the drain.
    os.killpg(command.process.pid, number)
    code, output = command.wait()
    assert (code, time.monotonic() - start < 30) == (expected, True), output
    assert "resume with: python -m engine.generate" in output
    assert not command.gone_within(10)
    partial = json.loads((tmp_path / "out/manifest.json").read_text())
    assert partial["status"] == "partial"
    sealed = rows(tmp_path / "out", "transcripts")
    assert len(sealed) == count(tmp_path / "out") > 60
    curated = rows(tmp_path / "out", "sft") + rows(tmp_path / "out", "rejected")
    assert {row["query_id"] for row in curated} == {row["query_id"] for row in sealed}
    code, output = Command(SCRIPTED, tmp_path / "out").start().wait()
    assert code == 0, output
    check_exactly_once(tmp_path / "out", total(tmp_path / "out"), 0)


def test_a_drain_that_takes_too_long_is_cut(tmp_path: Path) -> None:
    slow = ["--backend", "scripted", "--scripted-latency-ms", "20000", "--limit", "40", "--drain-s", "2"]
    command = Command(slow, tmp_path / "out").start()
    until = time.monotonic() + 60
    while not list((tmp_path / "out/logs").glob("worker-*")) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(2)
    assert command.process is not None
    command.process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    code, output = command.wait()
    assert (code, time.monotonic() - start < 20) == (143, True), output
    assert json.loads((tmp_path / "out/manifest.json").read_text())["status"] == "partial"


def test_two_runs_on_one_output(tmp_path: Path) -> None:
    first = Command([*SCRIPTED, "--limit", "200"], tmp_path / "out").start()
    first.wait_for_rows(1)
    second = Command([*SCRIPTED, "--limit", "200"], tmp_path / "out").start()
    code, output = second.wait()
    assert code == 4, output
    code, output = Command([*SCRIPTED, "--limit", "200", "--if-running", "skip"], tmp_path / "out").start().wait()
    assert (code, "already running" in output) == (0, True), output
    code, output = first.wait()
    assert code == 0, output
    check_exactly_once(tmp_path / "out", 200, 0)
