"""Real processes for the tests that kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process running `code`; its stdout is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def output(code: str, *arguments: str) -> str:
    """What `code` printed; it must end well."""
    with start(code, *arguments) as child:
        printed, _ = child.communicate(timeout=120)
    assert child.returncode == 0, printed
    return printed
