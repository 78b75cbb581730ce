"""A stage as a process of its own: fresh memory, its own log, and never left behind.

Exit codes keep their meaning through the loop. A stage that finds its output still held (exit 4: by what a kill left
running for a moment) is tried again for a while.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from engine.errors import BreakerError, EcsoError, OutputBusyError, OutputError, UsageError
from engine.loop.stages import Stage
from engine.processes import end_with_parent

Runner = Callable[[Stage, Path], int]
"""(stage, folder of the loop) -> exit code."""
BUSY, BUSY_TRIES, BUSY_WAIT_S = 4, 60, 3.0
TAIL = 15
"""Lines of a failed stage's log that the error shows."""


class LoopStoppedError(EcsoError):
    """A signal ended the loop between or inside stages; the same command goes on."""

    exit_code = 128 + signal.SIGTERM


def command(stage: Stage, config: Path) -> list[str]:
    """The command line of a stage, as a person could type it."""
    return [sys.executable, "-m", "engine", stage.command, *stage.runs, "--config", str(config)]


def write_config(stage: Stage, root: Path) -> Path:
    """The stage's own configuration file: the very section that it is told."""
    import yaml

    path = root / "stages" / f"{stage.file_name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({stage.command: dict(stage.section)}, sort_keys=False), "utf-8")
    return path


def log_file(stage: Stage, root: Path) -> Path:
    return root / "logs" / f"{stage.file_name}.log"


def process(stage: Stage, root: Path) -> int:
    """Run a stage to its end; its exit code. Raises LoopStoppedError and KeyboardInterrupt once the stage has ended."""
    arguments = command(stage, write_config(stage, root))
    log = log_file(stage, root)
    log.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(BUSY_TRIES):
        code = _once(arguments, log)
        if code != BUSY:
            break
        time.sleep(BUSY_WAIT_S)
    return code


def _once(arguments: list[str], log: Path) -> int:
    with log.open("ab") as stream:
        stream.write(f"$ {shlex.join(arguments)}\n".encode())
        stream.flush()
        child = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, preexec_fn=end_with_parent
        )
        with _Terminate(child):
            try:
                return child.wait()
            except KeyboardInterrupt:
                child.wait()  # it got the Ctrl-C too, and drains
                raise


class _Terminate:
    """Inside the block SIGTERM is handed on to the child; at its end it becomes LoopStoppedError."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._asked = False
        self._before: object = None

    def __enter__(self) -> None:
        if _is_main_thread():
            self._before = signal.signal(signal.SIGTERM, self._hand_on)

    def _hand_on(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        self._child.terminate()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _is_main_thread():
            signal.signal(signal.SIGTERM, self._before)  # type: ignore[arg-type]
        if self._asked:
            raise LoopStoppedError("stopped by SIGTERM; the same command goes on")


def _is_main_thread() -> bool:
    import threading

    return threading.current_thread() is threading.main_thread()


def failure(stage: Stage, code: int, root: Path) -> EcsoError:
    """What a stage's exit code means for the loop, with the end of its log."""
    log = log_file(stage, root)
    lines = log.read_text("utf-8", "replace").splitlines()[-TAIL:] if log.is_file() else []
    words = f"stage {stage.name} ended with exit code {code}; its log is {log}\n" + "\n".join(f"  {x}" for x in lines)
    kinds: dict[int, type[EcsoError]] = {2: UsageError, 3: BreakerError, BUSY: OutputBusyError}
    if code in (130, 143, -signal.SIGTERM, -signal.SIGINT):
        return LoopStoppedError(words)
    return kinds.get(code, OutputError)(words)
