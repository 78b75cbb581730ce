"""A disk that fills up under the whole command: a clear end, no corrupt seal, and the same command goes on later."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.journal.manifest import verify
from tests.chaos.harness import Command, check_exactly_once, count

pytestmark = [pytest.mark.kill, pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skipped where none may be mounted (no root)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_the_run_and_more_room_lets_it_go_on(small_disk: Path) -> None:
    out = small_disk / "out"
    arguments = ["--backend", "scripted"]
    code, output = Command(arguments, out).start().wait()
    assert code == 1, output
    assert "no space left" in output
    assert "free some space and run again" in output
    assert "Traceback" not in output
    assert not (out / "manifest.json").exists()
    finished = count(out)
    assert finished > 20
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    code, output = Command(arguments, out).start().wait()
    assert code == 0, output
    verify(str(out))
    rows = json.loads((out / "manifest.json").read_text())["counts"]["read"]
    check_exactly_once(out, rows, 0)


def test_a_disk_that_is_full_before_the_first_row(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"\0" * (2**20 - 8192))
    with (small_disk / "rest").open("wb") as file:
        try:
            file.write(b"\0" * 8192)
            file.flush()
        except OSError:
            pass
    code, output = Command(["--backend", "scripted"], small_disk / "out").start().wait()
    assert code == 1, output
    assert "no space left" in output
    assert "Traceback" not in output
