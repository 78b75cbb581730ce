"""`python -m engine.jobs.stop [SECONDS]`: ask the runs on this machine to drain, and wait until they have.

A container that is to end sends its signal to its first process, which is Ray's and not the run's: this stands in the
head pod's preStop hook, so that the run itself hears SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

DOOR = "engine.generate"


def runs(proc: Path = Path("/proc")) -> list[int]:
    """Processes of this user that are `python -m engine.generate …` themselves (not a shell that mentions it)."""
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
            is_run = (b"-m", DOOR.encode()) in pairwise(arguments)
            if is_run and b"python" in os.path.basename(arguments[0]) and entry.stat().st_uid == os.getuid():
                found.append(int(entry.name))
    return sorted(found)


def stop(seconds: float, pids: Collection[int] | None = None) -> bool:
    """SIGTERM to every run (or to `pids`), then wait; whether all ended in time."""
    waiting = set(runs() if pids is None else pids)
    for pid in waiting:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while waiting & set(runs()):
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


if __name__ == "__main__":
    sys.exit(0 if stop(float(sys.argv[1]) if len(sys.argv) > 1 else 90.0) else 1)
