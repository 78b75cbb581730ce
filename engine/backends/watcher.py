"""Ends an engine's processes when the process that owned them dies, however it dies.

vLLM's EngineCore outlives an actor that was killed with -9, and keeps its memory (vllm#55510, ray#54364). So the owner
marks the environment that its engine's processes inherit with a token, and starts this file as a small process of its
own, holding the other end of its standard input. The kernel closes that pipe when the owner ends; then every process
whose environment carries the token is killed, and what was below such a process at a look once a second (a process is
its pid and its start time, so no later process of that number is taken for it).

Covered: processes started by exec (vLLM's `spawn`) of the same user on the same machine, Linux only. Not covered:
workers on other nodes (Ray ends those), and processes forked without exec (their environment is the owner's).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

VARIABLE = "ECSO_ENGINE_TOKEN"
LOOK_S, LATER_LOOK_S, STARTING_S = 1.0, 5.0, 60.0
"""How often processes are looked up while the owner lives, in its first minute and later: a raylet ends with its
driver, and its agents, which may have lost the token, are then nobody's children. They start within that minute."""
QUIET_S, HARD_S = 1.0, 30.0
"""How long nothing must have been found before the end is believed, and when the search is given up."""


def watch(token: str, variable: str = VARIABLE, grace_s: float = 0.0) -> subprocess.Popen[bytes]:
    """Start the watcher for `variable=token`; closing its stdin (or dying) sets it off, `grace_s` later."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__)), token, variable, str(grace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C at the terminal is for the owner, which then closes properly
        env={},
    )


def owned(token: str, variable: str = VARIABLE) -> list[int]:
    """Pids whose environment carries the token, this process left out."""
    wanted = f"{variable}={token}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:  # another user's, or gone
            continue
    return found


class Table(NamedTuple):
    """All processes at one look: pid -> start time, which tells a process from a later one of its number, and pid ->
    the pids below it."""

    started: dict[int, str]
    children: dict[int, list[int]]


def table() -> Table:
    """One look at /proc."""
    started: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            started[int(folder.name)] = fields[19]
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    return Table(started, children)


def family(pids: Iterable[int], there: Table) -> dict[int, str]:
    """These processes and all below them, with their start times.

    Ray's agents rename themselves, which wipes a part of the environment that /proc shows, and at times the token with
    it: they are found as children of a raylet that still carries it.
    """
    found: dict[int, str] = {}
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid in there.started and pid not in found:
            found[pid] = there.started[pid]
            waiting += there.children.get(pid, [])
    found.pop(os.getpid(), None)
    return found


class Watched:
    """All processes of a token, those included that lost it or whose parent, which had it, is gone."""

    def __init__(self, token: str, variable: str = VARIABLE) -> None:
        self._token, self._variable = token, variable
        self._known: dict[int, str] = {}

    def alive(self) -> list[int]:
        """What carries the token now, all below that, and what was seen so at an earlier look and still runs."""
        marked = owned(self._token, self._variable)
        there = table()  # once a look: every look takes time from an engine that computes on the same cores
        self._known.update(family(marked, there))
        now = family(self._known, there)
        self._known = {pid: start for pid, start in self._known.items() if now.get(pid) == start}
        return list(self._known)


def end(token: str, grace_s: float = 0.0, variable: str = VARIABLE, watched: Watched | None = None) -> list[int]:
    """Give the processes `grace_s` to end by themselves, then kill what is left, until none is; says which."""
    left = (watched or Watched(token, variable)).alive
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and left():
        time.sleep(0.05)
    killed: list[int] = []
    quiet_since, give_up = time.monotonic(), time.monotonic() + HARD_S
    # One empty look is no proof: a process in the middle of an exec shows no environment, and one that was just killed
    # may have got another one started.
    while time.monotonic() < min(quiet_since + QUIET_S, give_up):
        for pid in left():
            quiet_since = time.monotonic()
            killed.append(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
    return killed


def main(token: str, variable: str, grace_s: str) -> None:
    """Wait for the owner's end of the pipe to close; look once a second at what is to be ended then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched = Watched(token, variable)
    started = time.monotonic()
    while True:
        look_s = LOOK_S if time.monotonic() - started < STARTING_S else LATER_LOOK_S
        closed, _, _ = select.select([0], [], [], look_s)
        if closed and not os.read(0, 4096):
            break
        watched.alive()
    end(token, float(grace_s), variable, watched)


if __name__ == "__main__":
    main(*sys.argv[1:])
