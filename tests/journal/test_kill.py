"""kill -9 at any moment: no acknowledged row is lost, and the output is the old sealed state or the new one."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from engine.journal.index import done
from engine.journal.manifest import read_manifest, verify
from engine.journal.seal import seal
from engine.journal.store import Store
from tests.journal.children import start
from tests.journal.make import RUN, sealed_rows
from tests.journal.test_seal import fill

pytestmark = pytest.mark.kill

WRITER = """
import sys
from engine.journal.segments import JournalWriter
from tests.journal.make import picture, transcript
url, worker, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
writer = JournalWriter(url, worker)
for number in range(first, first + 100_000):
    shown = picture(number // 3, size=3000)
    writer.add_picture(shown)
    writer.append(transcript(number, index=number, pictures=[shown]))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def acknowledged(child: subprocess.Popen[str], wait_s: float) -> list[int]:
    """Kill it after it has worked for a while; what it had acknowledged by then (whole lines only)."""
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(wait_s)
    child.kill()
    rest = child.stdout.read()
    child.wait()
    whole = (first + rest).rpartition("\n")[0]
    return [int(line) for line in whole.split()]


def test_every_acknowledged_row_survives_kill_9(tmp_path: Path) -> None:
    rng = random.Random(7)
    kept: list[int] = []
    for round_ in range(6):
        child = start(WRITER, str(tmp_path), f"w{round_}", str(round_ * 100_000))
        kept += acknowledged(child, rng.uniform(0.0, 0.15))
    keys = done(str(tmp_path), retry_errors=False).has_keys([f"rows.jsonl:{number}" for number in kept])
    assert keys.all()
    manifest = seal(str(tmp_path), run=RUN)
    found = {row["source_index"] for row in sealed_rows(str(tmp_path), manifest)}
    assert found >= set(kept)
    # At most the one row of each writer that was in the file but not yet acknowledged.
    assert len(found) - len(kept) <= 6
    verify(str(tmp_path))


SEAL_KILLED_AT_STEP = """
import os, signal, sys
from engine.journal.seal import seal
from tests.journal.make import RUN
url, last, steps = sys.argv[1], int(sys.argv[2]), 0

def count(event, arguments):
    global steps
    changes = event in ("os.rename", "os.remove", "os.link") or (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    )
    if changes and str(arguments[0]).startswith(url):
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
seal(url, run=RUN)
"""


@pytest.mark.slow
def test_a_seal_killed_at_each_change_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    """The child kills itself before its n-th change to the output, n = 1, 2, … until it gets through."""
    seen = set()
    for step in range(1, 40):
        url = tmp_path / str(step)
        fill(url)
        old = seal(str(url), run=RUN)
        fill(url, rows=8, worker="w2", pictures=3)
        child = start(SEAL_KILLED_AT_STEP, str(url), str(step))
        child.communicate(timeout=60)
        manifest = read_manifest(str(url))
        assert manifest is not None
        seen.add(manifest["counts"]["transcripts"])
        verify(str(url))
        assert manifest["counts"]["transcripts"] in (old["counts"]["transcripts"], 8)
        assert seal(str(url), run=RUN)["counts"]["transcripts"] == 8
        verify(str(url))
        left = Store(url).list("transcripts") + Store(url).list("pictures") + Store(url).list()
        assert len(left) == 3, left
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
    else:
        raise AssertionError("never got through")
    assert step > 6
    assert seen == {5, 8}


SEAL = """
import sys
from engine.journal.seal import seal
from tests.journal.make import RUN
sys.stdin.readline()
seal(sys.argv[1], run=RUN)
"""


@pytest.mark.slow
def test_a_seal_killed_at_any_time_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    rng = random.Random(11)
    url = str(tmp_path)
    fill(tmp_path, rows=3000)
    seal(url, run=RUN)
    fill(tmp_path, rows=6000, worker="w2", pictures=40)
    for _ in range(8):
        child = start(SEAL, url)
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        time.sleep(rng.uniform(0.3, 1.3))
        child.kill()
        child.communicate()
        verify(url)
    assert seal(url, run=RUN)["counts"]["transcripts"] == 6000
    verify(url)


PARENT = """
import sys, threading
from dataclasses import replace
from engine.journal.seal import seal_in_process
from tests.journal.make import RUN
threading.Timer(0.4, lambda: print("sealing", flush=True)).start()
seal_in_process(sys.argv[1], run=RUN)
"""


@pytest.mark.slow
def test_the_sealing_process_dies_with_its_parent(tmp_path: Path) -> None:
    fill(tmp_path, rows=12_000)
    parent = start(PARENT, str(tmp_path))
    assert parent.stdout is not None
    assert parent.stdout.readline() == "sealing\n"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
