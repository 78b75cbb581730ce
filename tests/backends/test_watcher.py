"""The watcher: whatever carries the token ends when its owner does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

import pytest

from engine.backends import watcher

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
SLEEP = [sys.executable, "-c", "import time; time.sleep(120)"]
OWNER = """
import os, subprocess, sys, time
from engine.backends import watcher
token = sys.argv[1]
watcher.watch(token)
os.environ[watcher.VARIABLE] = token
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
parent = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(120)"
subprocess.Popen([sys.executable, "-c", parent, deaf])
print("ready", flush=True)
time.sleep(120)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_owners_death_ends_children_and_grandchildren(number: int) -> None:
    token = uuid.uuid4().hex
    owner = subprocess.Popen([sys.executable, "-c", OWNER, token], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    owner.stdout.readline()
    assert wait_for(lambda: len(watcher.owned(token)) == 2)
    os.kill(owner.pid, number)
    owner.wait()
    owner.stdout.close()
    assert wait_for(lambda: not watcher.owned(token), 5)


def test_end_waits_for_those_who_go_by_themselves() -> None:
    token = uuid.uuid4().hex
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(0.3)"], env={**os.environ, watcher.VARIABLE: token}
    )
    assert watcher.owned(token) == [child.pid]
    assert wait_for(lambda: child.poll() is not None)
    assert watcher.end(token, grace_s=5) == []


def test_end_kills_only_what_carries_the_token() -> None:
    token = uuid.uuid4().hex
    marked = subprocess.Popen(SLEEP, env={**os.environ, watcher.VARIABLE: token})
    other = subprocess.Popen(SLEEP, env={**os.environ, watcher.VARIABLE: token + "x"})
    try:
        assert marked.pid in watcher.end(token)
        assert marked.wait(5) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_watcher_whose_pipe_is_closed_goes_home() -> None:
    guard = watcher.watch(uuid.uuid4().hex)
    assert guard.stdin is not None
    guard.stdin.close()
    assert guard.wait(5) == 0


@pytest.mark.kill
def test_children_that_lost_the_token_are_taken_along() -> None:
    """Ray's agents rename themselves, which wipes what /proc shows of their environment; their parent dies first."""
    token = uuid.uuid4().hex
    parent = (
        "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(120)'],"
        " env={}); print(c.pid, flush=True); time.sleep(1.0)"
    )
    marked = subprocess.Popen(
        [sys.executable, "-c", parent], env={**os.environ, watcher.VARIABLE: token}, stdout=subprocess.PIPE, text=True
    )
    assert marked.stdout is not None
    child = int(marked.stdout.readline())
    assert child not in watcher.owned(token)
    killed = watcher.end(token, grace_s=2)  # the parent ends by itself meanwhile: the child is remembered
    marked.wait()
    marked.stdout.close()
    assert child in killed
    assert child not in watcher.family([child], watcher.table())


def test_what_a_cluster_leaves_behind_ends_too() -> None:
    """A worker that hangs in its own shutdown: the block of the cluster ends as it should, and the worker does not."""
    from pipelines import cluster

    with cluster._watched():
        left = subprocess.Popen(SLEEP)  # inherits the mark
        assert wait_for(lambda: left.pid in watcher.owned(os.environ[cluster.RUN_VARIABLE], cluster.RUN_VARIABLE))
        began = time.monotonic()
    assert time.monotonic() - began < 1  # nobody waits for it
    assert left.wait(10) == -signal.SIGKILL
    assert cluster.RUN_VARIABLE not in os.environ
