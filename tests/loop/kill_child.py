"""A loop whose stages are processes of the stand-in: `python -m tests.loop.kill_child CONFIG`.

KILL_DRAWING=before|after: the held-out sets are small, and this process kills itself just before or just after their
folder gets its name.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engine.loop import runner
from engine.loop.plan import read
from engine.loop.run import run
from engine.loop.stages import Stage


def command(stage: Stage, config: Path) -> list[str]:
    return [sys.executable, "-m", "tests.loop.stand_in", stage.command, *stage.runs, "--config", str(config)]


def kill_drawing(when: str) -> None:
    """Small sets; with `when` the end comes at their folder's rename."""
    from engine.tiny import heldout

    heldout.COUNT, heldout.MME_PICTURES = 2, 2
    rename = Path.rename

    def ends(self: Path, target: Path) -> Path:
        if when == "after":
            rename(self, target)
        os.kill(os.getpid(), signal.SIGKILL)
        return target

    if when in ("before", "after"):
        Path.rename = ends  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    kill_drawing(os.environ.get("KILL_DRAWING", ""))
    runner.command = command
    run(*read(sys.argv[1], {}))
