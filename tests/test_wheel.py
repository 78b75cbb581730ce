"""The built wheel, outside the checkout: everything that it needs is inside, and it runs the main job."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ("engine/", "pipelines/", "schemas/")

pytestmark = [pytest.mark.ray, pytest.mark.torch, pytest.mark.slow]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the packages, with the environment's own setuptools."""
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("torch")
    base = tmp_path_factory.mktemp("wheel")
    for name in (*tracked(), "pyproject.toml", "README.md", "LICENSE"):
        (base / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (base / "source" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(base), str(base / "source")], check=True, cwd=base)
    (found,) = base.glob("ecso_engine-*.whl")
    return found


def tracked() -> list[str]:
    """Files of the packages, without caches and notes for developers."""
    every = [path for top in CODE for path in (ROOT / top).rglob("*") if path.is_file() and path.suffix != ".md"]
    return sorted(str(path.relative_to(ROOT)) for path in every if "__pycache__" not in path.parts)


def test_every_file_of_the_packages_is_inside(wheel: Path) -> None:
    """Prompts, schemas, templates, the world, the tiny weights and the sample's pictures."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert [name for name in tracked() if name not in inside] == []


def test_it_runs_the_main_job(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    command = [sys.executable, "-m", "engine.generate", "--limit", "5", "--out", "out", "--backend", "transformers"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "complete: 5 transcripts" in done.stdout
    shown = subprocess.run(
        [sys.executable, "-c", "import engine; print(engine.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.startswith(str(tmp_path / "site"))
