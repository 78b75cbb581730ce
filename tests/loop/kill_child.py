"""A loop whose stages are processes of the stand-in: `python -m tests.loop.kill_child CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.loop import runner
from engine.loop.plan import read
from engine.loop.run import run
from engine.loop.stages import Stage


def command(stage: Stage, config: Path) -> list[str]:
    return [sys.executable, "-m", "tests.loop.stand_in", stage.command, *stage.runs, "--config", str(config)]


if __name__ == "__main__":
    runner.command = command
    run(*read(sys.argv[1], {}))
