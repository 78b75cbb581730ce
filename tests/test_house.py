"""The house rules that a machine can hold: who imports whom, which library stands where, what is listed once."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest

import schemas
from engine import config, types

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "engine", "pipelines")
DOORS = {
    *("generate", "curate", "train", "evaluate", "publish"),
    *("calibrate", "annotate", "leakage", "hydrate", "validate", "job", "list", "__main__"),
}
"""Modules directly under engine/ that are doors: they and engine.commands may look down on everything."""
HEAVY = {
    "ray": ("pipelines/",),
    "vllm": ("engine/backends/vllm",),
    "huggingface_hub": ("engine/sources/hub.py", "engine/fingerprint.py", "engine/publishing/"),
    "torch": ("engine/backends/", "engine/tiny/", "engine/training/"),
    "transformers": ("engine/backends/", "engine/tiny/", "engine/training/"),
    "trl": ("engine/training/",),
    "peft": ("engine/training/", "engine/backends/"),
}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Names imported anywhere in a file (or only when it is loaded)."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = tree.body if top_level else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(path: Path) -> str:
    """schemas, pipelines, engine, or `doors` (doors and commands)."""
    parts = path.relative_to(ROOT).parts
    if parts[0] != "engine":
        return parts[0]
    return "doors" if parts[1] == "commands" or (path.stem in DOORS and len(parts) == 2) else "engine"


MAY_IMPORT = {
    "schemas": {"schemas"},
    "engine": {"engine", "schemas"},
    "pipelines": {"pipelines", "engine", "schemas"},
    "doors": {"doors", "pipelines", "engine", "schemas"},
}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_import_direction(path: Path) -> None:
    """doors and commands -> pipelines -> engine's rooms -> schemas, and never back."""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            continue
        target = parts[0]
        if target == "engine" and len(parts) > 1 and (parts[1] == "commands" or parts[1] in DOORS):
            target = "doors"
        assert target in MAY_IMPORT[room(path)], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_files(path: Path) -> None:
    relative = str(path.relative_to(ROOT))
    for name in imports(path):
        library = name.split(".")[0]
        if library in HEAVY:
            assert relative.startswith(HEAVY[library]), f"{relative} imports {name}"


def test_strategies_and_backends_meet_only_in_the_pipeline() -> None:
    for path in modules():
        relative = str(path.relative_to(ROOT))
        names = imports(path)
        if relative.startswith("engine/strategies/"):
            assert not [name for name in names if name.startswith("engine.backends")], relative
        if relative.startswith("engine/backends/"):
            found = [name for name in names if name.startswith("engine.strategies")]
            assert all("prompts" in name for name in found if name != "engine.strategies"), (relative, found)


@pytest.mark.parametrize(
    ("cls", "schema"),
    [
        (types.Transcript, schemas.load("transcript")),
        (types.Step, schemas.load("transcript")["$defs"]["step"]),
        (config.GenerateConfig, schemas.load("config")["properties"]["generate"]),
        (config.CurateConfig, schemas.load("config")["properties"]["curate"]),
        (config.TrainConfig, schemas.load("config")["properties"]["train"]),
        (config.EvaluateConfig, schemas.load("config")["properties"]["evaluate"]),
        (config.CalibrateConfig, schemas.load("config")["properties"]["calibrate"]),
        (config.PublishConfig, schemas.load("config")["properties"]["publish"]),
        (config.HydrateConfig, schemas.load("config")["properties"]["hydrate"]),
        (config.LoopConfig, schemas.load("config")["properties"]["loop"]),
        (config.PreviewConfig, schemas.load("config")["properties"]["preview"]),
        (config.ValidateConfig, schemas.load("config")["properties"]["validate"]),
        (config.JobConfig, schemas.load("config")["properties"]["job"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_dataclass_equals_schema(cls: type, schema: dict[str, object]) -> None:
    assert [field.name for field in fields(cls)] == list(schema["properties"])  # type: ignore[call-overload]


@pytest.mark.parametrize("section", ["generate", "curate", "train", "preview", "validate", "job"])
def test_defaults_stand_once(section: str) -> None:
    """The dataclass and the schema give the same default for every key."""
    cls: type = getattr(config, f"{section.capitalize()}Config")
    rules = schemas.load("config")["properties"][section]["properties"]
    for field in fields(cls):
        default = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[misc]
        assert (list(default) if isinstance(default, tuple) else default) == rules[field.name]["default"], field.name


def test_verdicts_equal_schema() -> None:
    rules = schemas.load("transcript")["properties"]
    assert list(get_args(types.Verdict)) == rules["final_verdict"]["enum"]
    assert list(get_args(types.Status)) == rules["status"]["enum"]


@pytest.mark.parametrize("table", ["transcript", "picture", "sft", "preference", "rejected", "annotation"])
def test_arrow_schema_is_what_datasets_would_write(table: str) -> None:
    datasets = pytest.importorskip("datasets")
    found = schemas.arrow_schema(table)
    features = datasets.Features.from_arrow_schema(found)
    assert features.arrow_schema.equals(found)
    assert found.metadata == features.arrow_schema.metadata


HELPED = ("generate", "curate", "evaluate", "train", "preview", "validate", "job", "list")


@pytest.mark.parametrize("command", [[], *([name, "--help"] for name in HELPED)])
def test_help_is_fast(command: list[str]) -> None:
    """No heavy library is loaded for help. (Time is a benchmark's business; what is loaded is a fact.)"""
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['engine', *{command!r}]\n"
        "try:\n    runpy.run_module('engine', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        "heavy = {'ray', 'torch', 'transformers', 'vllm', 'datasets', 'pyarrow', 'pandas', 'rich', 'numpy'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "LOADED []" in done.stdout
    assert "usage" in done.stdout
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "engine", *command], capture_output=True, cwd=ROOT, check=True)
    print(f"{command}: {time.perf_counter() - start:.2f} s")


def test_packages_are_listed() -> None:
    """Every package folder is in the build's list: a wheel outside the checkout runs the main job."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert listed == sorted(listed)
    found = set(listed)
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in modules() if path.name == "__init__.py"}
    assert folders == found
    with_code = {".".join(path.parent.relative_to(ROOT).parts) for path in modules()}
    assert with_code == found
