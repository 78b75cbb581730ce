"""Another allocator for processes that compute: found where Ray put it, loaded by a process that is started with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import allocator


@pytest.mark.skipif(sys.platform != "linux", reason="Ray brings jemalloc along on Linux only")
def test_a_process_that_is_started_with_it_has_it() -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "MALLOC_CONF")}
    wanted = allocator.environment(plain)
    code = "print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", code], env=plain | wanted, capture_output=True, text=True, check=True)
    assert str(allocator.library()) in done.stdout
    assert not done.stderr  # jemalloc names settings that it does not know


def test_what_the_caller_preloads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "library", lambda: "/ray/core/libjemalloc.so")
    assert allocator.environment({}) == {"LD_PRELOAD": "/ray/core/libjemalloc.so", "MALLOC_CONF": allocator.KEEP}
    assert allocator.environment({"LD_PRELOAD": "libtcmalloc.so"}) == {}
    assert "MALLOC_CONF" not in allocator.environment({"MALLOC_CONF": "stats_print:true"})
    monkeypatch.setattr(allocator, "library", lambda: None)
    assert allocator.environment({}) == {}


@pytest.mark.parametrize(("folder", "usable"), [("ray", True), ("a ray", False), ("a:ray", False)])
def test_a_path_that_cannot_be_preloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, usable: bool
) -> None:
    made = tmp_path / folder / "ray" / "core"
    made.mkdir(parents=True)
    (made.parent / "__init__.py").touch()
    (made / "libjemalloc.so").touch()
    monkeypatch.setattr("sys.path", [str(tmp_path / folder)])
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    assert allocator.library() == (str(made / "libjemalloc.so") if usable else None)
