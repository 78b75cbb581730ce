"""The loop killed at random stages, stopped by SIGTERM, and its failed stages as processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import OutputBusyError, UsageError
from engine.loop import runner
from engine.loop.plan import read
from engine.loop.run import run
from engine.loop.runner import failure, log_file
from engine.loop.stages import Stage
from tests.loop.conftest import Recorder, write_config

KILLS = 4


def start(config: Path, sleep: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.loop.kill_child", str(config)],
        env={**os.environ, "STAND_IN_SLEEP": str(sleep)},
        stderr=subprocess.PIPE,
    )


def state(out: Path) -> dict[str, dict[str, str]]:
    file = out / "loop.json"
    return json.loads(file.read_text())["stages"] if file.is_file() else {}


def stand_ins(out: Path) -> list[int]:
    """Living stage processes of this loop."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if b"tests.loop.stand_in" in line and str(out).encode() in line:
            found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.kill
def test_kill_9_at_random_stages(tmp_path: Path) -> None:
    """Killed again and again, the loop ends with what it would have said undisturbed, and leaves no process behind."""
    config = write_config(tmp_path)
    out = tmp_path / "out"
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for number in sorted(dice.sample(range(1, 8), KILLS)):
        child = start(config, 0.3)
        until = time.monotonic() + 90
        while sum(each["status"] == "done" for each in state(out).values()) < number and child.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        time.sleep(dice.random() * 1.2)  # somewhere inside the next stage, or between two
        child.kill()
        child.wait()
        json.loads((out / "loop.json").read_text())  # never half written
        for _ in range(50):
            if not stand_ins(out):
                break
            time.sleep(0.1)
        assert stand_ins(out) == []
    assert start(config, 0).wait(timeout=120) == 0
    document = json.loads((out / "loop.json").read_text())
    assert document["status"] == "complete"
    assert all(each["status"] == "done" for each in document["stages"].values())
    calm = run(*read(str(config), {"out": str(tmp_path / "calm")}), Recorder(), lambda _text: None)
    assert [each["measures"] for each in document["results"]] == [each["measures"] for each in calm["results"]]


@pytest.mark.slow
@pytest.mark.kill
def test_sigterm_ends_the_stage_and_the_loop(tmp_path: Path) -> None:
    config, out = write_config(tmp_path), tmp_path / "out"
    child = start(config, 30)
    for _ in range(600):
        if stand_ins(out):
            break
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) != 0
    assert b"stopped by SIGTERM" in (child.stderr.read() if child.stderr else b"")
    assert stand_ins(out) == []
    assert state(out)["base/evaluate"]["status"] == "failed"


def test_exit_codes_keep_their_meaning(tmp_path: Path) -> None:
    stage = Stage("seed-0/x/train", "train", {}, tmp_path / "x")
    file = log_file(stage, tmp_path)
    file.parent.mkdir(parents=True)
    file.write_text("first\nlast words\n")
    assert isinstance(failure(stage, 2, tmp_path), UsageError)
    assert isinstance(failure(stage, 4, tmp_path), OutputBusyError)
    assert failure(stage, 1, tmp_path).exit_code == 1
    assert failure(stage, 143, tmp_path).exit_code == 143
    assert "last words" in str(failure(stage, 1, tmp_path))


def test_a_stage_is_told_by_a_file_and_its_words_are_kept(tmp_path: Path) -> None:
    """The real command line, with a section that the real command refuses."""
    stage = Stage("t", "curate", {"max_share": 7}, tmp_path / "t", ("no-such-run",))
    assert runner.process(stage, tmp_path) == 2
    assert "max_share: 7" in (tmp_path / "stages/t.yaml").read_text()
    log = (tmp_path / "logs/t.log").read_text()
    assert "-m engine curate no-such-run --config" in log
    assert "curate.max_share: found 7" in log


def test_a_second_loop_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path)

    class Greedy(Recorder):
        def __call__(self, stage: Stage, root: Path) -> int:
            with pytest.raises(OutputBusyError):
                run(*read(str(config), {}), Recorder(), lambda _text: None)
            return super().__call__(stage, root)

    run(*read(str(config), {"arms": ["untouched"]}), Greedy(), lambda _text: None)
