"""Sealing in a process of its own: `python -m engine.journal.child`, request on stdin, answer on stdout, in JSON.

The child ends when its stdin does, which is when the parent closes it or dies in any way: no process outlives a run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import errors
from engine.errors import EcsoError, OutputError

if TYPE_CHECKING:
    from engine.journal.seal import RunInfo

ROOT = Path(__file__).resolve().parents[2]


def call(url: str, run: RunInfo, complete: bool | None, timeout_s: float | None) -> dict[str, Any]:
    """Seal in a child process: its manifest, or its error raised here."""
    request = json.dumps({"url": url, "run": asdict(run), "complete": complete}) + "\n"
    # A session of its own: the second Ctrl-C of an impatient person must not end the seal half-way.
    child = subprocess.Popen(
        [sys.executable, "-m", "engine.journal.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        start_new_session=True,
    )
    try:
        answer = _converse(child, request.encode(), timeout_s)
    finally:
        child.kill()
        child.wait()
    return _unpack(answer, child.returncode)


def _converse(child: subprocess.Popen[bytes], request: bytes, timeout_s: float | None) -> bytes:
    """stdin stays open until the answer is there: its end is the child's signal that the parent is gone."""
    if child.stdin is None or child.stdout is None:
        raise OutputError("sealing: no pipes to the sealing process")
    timer = threading.Timer(timeout_s, child.kill) if timeout_s else None
    if timer:
        timer.start()
    try:
        child.stdin.write(request)
        child.stdin.flush()
        return child.stdout.read()
    except BrokenPipeError:
        return b""
    finally:
        if timer:
            timer.cancel()


def _unpack(answer: bytes, code: int | None) -> dict[str, Any]:
    try:
        reply = json.loads(answer)
    except ValueError:
        how = f"signal {-code}" if code and code < 0 else f"exit code {code}"
        raise OutputError(
            f"the sealing process ended early ({how}). The journal holds every row: run the same command again"
        ) from None
    if "manifest" in reply:
        return dict(reply["manifest"])
    kind = getattr(errors, reply["error"], OutputError)
    raise kind(reply["message"])


def main() -> int:
    """The child's side."""
    from engine.journal.seal import RunInfo, seal

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reply: dict[str, Any]
    try:
        manifest = seal(request["url"], run=RunInfo(**request["run"]), complete=request["complete"])
        reply = {"manifest": manifest}
    except EcsoError as error:
        reply = {"error": type(error).__name__, "message": str(error)}
    except Exception as error:  # noqa: BLE001 (the parent must get a reason for any failure; it raises OutputError)
        import traceback

        traceback.print_exc()
        reply = {"error": "OutputError", "message": f"sealing failed: {type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(reply))
    sys.stdout.flush()
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    # The reader thread may be inside a read of stdin, which an ordinary exit would wait for.
    code = main()
    sys.stdout.flush()
    os._exit(code)
