"""One run at a time, over real processes: of any number of rivals one wins, and a dead holder stops nobody."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import OutputBusyError
from engine.journal import lock
from engine.journal.lock import LOCK, Holder, RunLock, Skipped, myself
from engine.journal.store import Store
from tests.journal.children import start

HOLD = """
import sys
from engine.journal.lock import RunLock
from engine.journal.store import Store
with RunLock(Store(sys.argv[1]), lease_s=float(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def write(folder: Path, holder: Holder) -> None:
    Store(folder).write(LOCK, holder.text())


def elsewhere(lease_s: float = 0.6) -> Holder:
    return replace(myself(lease_s), host="other-host", place="another boot")


def test_it_is_free_after_release(tmp_path: Path) -> None:
    for _ in range(3):
        with RunLock(Store(tmp_path)) as held:
            assert not held.lost.is_set()


def test_a_second_run_fails_and_names_the_holder(tmp_path: Path) -> None:
    with (
        RunLock(Store(tmp_path)),
        pytest.raises(OutputBusyError, match=r"held by process \d+ on .*--if-running wait"),
        RunLock(Store(tmp_path)),
    ):
        pass


def test_skip_is_a_signal_with_exit_code_0(tmp_path: Path) -> None:
    with RunLock(Store(tmp_path)), pytest.raises(Skipped, match="already running"):
        RunLock(Store(tmp_path), if_running="skip").acquire()
    assert Skipped.exit_code == 0


def test_wait_waits_until_it_is_free(tmp_path: Path) -> None:
    first = RunLock(Store(tmp_path), lease_s=1)
    first.acquire()
    threading.Timer(0.3, first.release).start()
    began = time.monotonic()
    with RunLock(Store(tmp_path), lease_s=1, if_running="wait"):
        assert time.monotonic() - began >= 0.25


@pytest.mark.kill
def test_a_living_process_on_this_host_holds_it_and_a_killed_one_does_not(tmp_path: Path) -> None:
    child = start(HOLD, str(tmp_path), "30")
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(OutputBusyError, match=f"process {child.pid} "):
        RunLock(Store(tmp_path)).acquire()
    child.kill()
    began = time.monotonic()
    with RunLock(Store(tmp_path)):  # not yet reaped: a zombie counts as dead
        assert time.monotonic() - began < 2
    child.communicate()


def test_a_reused_pid_is_no_holder(tmp_path: Path) -> None:
    write(tmp_path, replace(myself(30), started="1"))
    with RunLock(Store(tmp_path)):
        pass


def test_a_lock_from_another_host_is_taken_after_its_lease(tmp_path: Path) -> None:
    write(tmp_path, elsewhere(0.6))
    began = time.monotonic()
    with RunLock(Store(tmp_path)):
        assert 0.6 <= time.monotonic() - began < 3


def test_a_heartbeat_from_another_host_is_noticed(tmp_path: Path) -> None:
    holder = elsewhere(3)
    write(tmp_path, holder)
    threading.Timer(0.4, write, (tmp_path, replace(holder, beat=1))).start()
    began = time.monotonic()
    with pytest.raises(OutputBusyError, match="other-host"):
        RunLock(Store(tmp_path)).acquire()
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("text", [b"", b"{", b'{"host": 1}', b"\xff"])
def test_an_unreadable_lock_is_taken_after_a_lease(
    tmp_path: Path, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "UNREADABLE", replace(lock.UNREADABLE, lease_s=0.3))
    Store(tmp_path).write(LOCK, text)
    with RunLock(Store(tmp_path)):
        pass


def test_the_heartbeat_renews_and_sees_that_the_lock_was_taken(tmp_path: Path) -> None:
    called = threading.Event()
    with RunLock(Store(tmp_path), lease_s=0.3, on_lost=called.set) as held:
        time.sleep(0.5)
        assert json.loads(Store(tmp_path).read(LOCK))["beat"] >= 2
        assert not held.lost.is_set()
        thief = elsewhere()
        write(tmp_path, thief)
        assert held.lost.wait(2)
        assert called.wait(1)
    # The loser must not release the thief's lock.
    assert json.loads(Store(tmp_path).read(LOCK))["nonce"] == thief.nonce


def test_the_lock_outlives_its_lease_while_it_is_held(tmp_path: Path) -> None:
    with RunLock(Store(tmp_path), lease_s=0.3):
        time.sleep(0.8)
        with pytest.raises(OutputBusyError):
            RunLock(Store(tmp_path), lease_s=0.3).acquire()


RACE = """
import sys, time
from pathlib import Path
from engine.errors import OutputBusyError
from engine.journal.lock import RunLock
from engine.journal.store import Store
url, rounds = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(rounds):
    with RunLock(Store(url), if_running="wait", lease_s=0.5):
        inside = Path(url, "inside")
        inside.touch(exist_ok=False)   # FileExistsError: two are inside at once
        time.sleep(0.01)
        inside.unlink()
"""

ONE_WINS = """
import sys
from engine.errors import OutputBusyError
from engine.journal.lock import RunLock
from engine.journal.store import Store
print("ready", flush=True)
sys.stdin.readline()
try:
    with RunLock(Store(sys.argv[1])):
        print("won", flush=True)
        sys.stdin.readline()
except OutputBusyError:
    print("busy", flush=True)
"""


@pytest.mark.kill
@pytest.mark.parametrize("stale", ["none", "released", "dead", "elsewhere"])
def test_of_many_rivals_exactly_one_wins(tmp_path: Path, stale: str) -> None:
    if stale == "released":
        write(tmp_path, replace(myself(30), released=True))
    if stale == "dead":
        write(tmp_path, replace(myself(30), started="1"))
    if stale == "elsewhere":
        write(tmp_path, elsewhere(0.5))
    children = [start(ONE_WINS, str(tmp_path)) for _ in range(5)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = [child.stdout.readline().strip() for child in children if child.stdout]
    for child in children:
        child.communicate("end\n", timeout=30)
    assert sorted(answers) == ["busy"] * 4 + ["won"]


@pytest.mark.kill
@pytest.mark.slow
def test_never_two_at_once(tmp_path: Path) -> None:
    children = [start(RACE, str(tmp_path), "5") for _ in range(4)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=100)
        assert child.returncode == 0
