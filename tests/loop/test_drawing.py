"""The held-out sets: shared by loops that want the same ones, refused otherwise, whole after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.loop.drawing import MARKER, draw_heldout
from engine.loop.plan import read
from engine.loop.run import run
from engine.tiny import WORLD_FILE, heldout
from tests.loop.conftest import Made, Recorder, write_config


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heldout, "COUNT", 2)
    monkeypatch.setattr(heldout, "MME_PICTURES", 2)


def loop(make: Callable[..., Made], tmp_path: Path, out: str, **more: Any) -> dict[str, Any]:
    told = {"out": str(tmp_path / out), "draw_heldout": str(tmp_path / "sets"), "arms": ["untouched"], **more}
    return run(*make(**told), Recorder(), lambda _text: None)


def files(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_two_loops_share_what_was_drawn(make: Callable[..., Made], tmp_path: Path) -> None:
    """The example's two commands."""
    loop(make, tmp_path, "one")
    before = files(tmp_path / "sets")
    marker = json.loads((tmp_path / "sets" / MARKER).read_text())
    world = hashlib.sha256(Path(WORLD_FILE).read_bytes()).hexdigest()
    assert marker == {"kind": "heldout", "world_sha256": world, "seed": 0, "count": 2}
    assert loop(make, tmp_path, "two")["status"] == "complete"
    assert files(tmp_path / "sets") == before


def test_another_seed_draws_other_sets(make: Callable[..., Made], tmp_path: Path) -> None:
    loop(make, tmp_path, "one")
    with pytest.raises(UsageError, match=r"(?s)'seed': 0.*expected.*'seed': 5.*name another folder"):
        loop(make, tmp_path, "two", draw_seed=5)
    loop(make, tmp_path, "three", draw_seed=5, draw_heldout=str(tmp_path / "others"))
    one, other = files(tmp_path / "sets"), files(tmp_path / "others")
    assert not {one[name] for name in one if name.endswith("png")} & set(other.values())


def test_a_folder_of_something_else_is_refused(
    make: Callable[..., Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sets/known").mkdir(parents=True)
    (tmp_path / "sets/known/test.json").write_text("[]")
    with pytest.raises(UsageError, match=f"found no {MARKER}"):
        loop(make, tmp_path, "one")
    (tmp_path / "sets" / MARKER).write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        loop(make, tmp_path, "one")
    assert (tmp_path / "sets/known/test.json").read_text() == "[]"
    monkeypatch.setattr(heldout, "COUNT", 3)
    loop(make, tmp_path, "two", draw_heldout=str(tmp_path / "larger"))
    monkeypatch.setattr(heldout, "COUNT", 2)
    with pytest.raises(UsageError, match=r"(?s)'count': 3.*'count': 2"):
        loop(make, tmp_path, "three", draw_heldout=str(tmp_path / "larger"))


def test_sets_drawn_again_by_another_loop_are_noticed(make: Callable[..., Made], tmp_path: Path) -> None:
    """A done stage is passed over; its folder is looked at all the same."""
    loop(make, tmp_path, "one")
    (tmp_path / "sets").rename(tmp_path / "aside")
    loop(make, tmp_path, "two", draw_seed=5)
    with pytest.raises(UsageError, match=r"(?s)'seed': 5.*'seed': 0"):
        loop(make, tmp_path, "one")


@pytest.mark.parametrize("seed", [0, 5])
def test_two_loops_draw_at_the_same_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Another loop draws, from its first file to its rename, before this one has renamed."""
    sets, write, drawn = tmp_path / "sets", heldout.write_heldout, []

    def between(*given: Any) -> dict[str, int]:
        counts = write(*given)
        drawn.append(counts)
        if len(drawn) == 1:
            draw_heldout(sets, seed, tmp_path / "other")
        return counts

    monkeypatch.setattr(heldout, "write_heldout", between)
    if seed == 0:
        draw_heldout(sets, 0, tmp_path / "one")
    else:
        with pytest.raises(UsageError, match=r"(?s)'seed': 5.*'seed': 0"):
            draw_heldout(sets, 0, tmp_path / "one")
    assert json.loads((sets / MARKER).read_text())["seed"] == seed
    assert (len(drawn), [path.name for path in tmp_path.iterdir()]) == (2, ["sets"])


@pytest.mark.kill
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_9_while_drawing(tmp_path: Path, when: str) -> None:
    """Just before or just after the folder gets its name: the same command goes on, with the same sets."""
    sets = tmp_path / "sets"
    config = write_config(tmp_path, draw_heldout=str(sets), arms=["untouched"])
    child = [sys.executable, "-m", "tests.loop.kill_child", str(config)]
    killed = subprocess.run(child, env={**os.environ, "KILL_DRAWING": when}, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sets.exists() == (when == "after")
    assert json.loads((tmp_path / "out/loop.json").read_text())["stages"]["draw-heldout"]["status"] == "running"
    document = run(*read(str(config), {}), Recorder(), lambda _text: None)
    assert document["status"] == "complete"
    assert document["stages"]["draw-heldout"]["attempts"] == 2
    run(*read(str(config), {"out": str(tmp_path / "calm"), "draw_heldout": str(tmp_path / "calm-sets")}), Recorder())
    assert files(sets) == files(tmp_path / "calm-sets")
    assert not list(tmp_path.glob(".sets*"))
