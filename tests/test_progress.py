"""What a person reads while a run goes on: one line of counts and rates, live in a terminal, plain without one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from engine import progress
from engine.progress import Display, Tally
from pipelines.blocks import Ack

ROOT = Path(__file__).parent.parent
ACKS = [
    Ack("a", "ok", "harmless", "harmless", True, 2, 1000, 400, 50),
    Ack("b", "ok", "harmful", "harmless", True, 5, 2000, 800, 150),
    Ack("c", "unresolved", "unknown", "unknown", False, 9, 1000, 0, 100),
    Ack("d", "error", error_type="PromptError", error_message="too long"),
    Ack("e", "duplicate"),
    Ack("f", "skipped"),  # by a drain: not finished
    Ack("g", "again"),  # a restarted worker found it in the journal: counted before
]


def tally(monkeypatch: pytest.MonkeyPatch, total: int | None = 25, seconds: float = 2.0) -> Tally:
    """Seven acknowledgements, two seconds after the first engine was ready; ten rows were done before."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    counted = Tally(total, before=10)
    now[0] += 7.0
    counted.start_clock()
    now[0] += seconds
    for ack in ACKS:
        counted.add(ack)
    return counted


def test_everything_is_in_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tally(monkeypatch).line() == (
        "15/25 rows · 2.5 rows/s · ETA 0:04 · first answers: 1 harmless, 1 harmful, 1 unknown · 2,150 tokens/s · "
        "prefix hits 30% · 1 errors · 1 unresolved"
    )


def test_a_source_of_unknown_length_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    line = tally(monkeypatch, total=None).line()
    assert line.startswith("15 rows · 2.5 rows/s · first answers")


def test_before_the_first_engine_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    counted = Tally(650)
    now[0] += 7.4
    assert counted.line() == "0/650 rows · starting the engine (7 s)"
    assert counted.answering_s is None


def test_plain_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    with Display(Tally(650)) as display:
        display.tick()
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 60.0)
    with Display(Tally(650)) as display:
        display.tick()  # too early for a line; the last one comes at the end
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" · ")[0] for line in lines] == ["0/650 rows"] * 3


def test_a_live_bar_in_a_terminal() -> None:
    code = (
        "import time\nfrom engine.progress import Display, Tally\nfrom pipelines.blocks import Ack\n"
        "tally = Tally(4)\n"
        "with Display(tally):\n    tally.add(Ack('a', 'ok', 'harmless'))\n    time.sleep(0.6)\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 120))
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=theirs, env=environment, check=True, timeout=60)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # its other end is closed
        pass
    os.close(ours)
    text = shown.decode()
    assert "1/4 rows" in text
    assert "━" in text  # the bar
