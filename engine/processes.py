"""A process that does not outlive the one that started it."""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
"""Looked up before any fork: a child of a process with threads may not take locks before it runs its program."""


def end_with_parent(_: object = None) -> None:
    """Call it in the new process: from now on it is killed when the thread that started it ends. Linux only."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
