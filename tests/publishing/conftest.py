"""A curated run made once, and a Hub of our own that the real client talks to."""

from __future__ import annotations

import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_DISABLE_XET", "1")

from tests.publishing.server import TOKEN, HubServer, hub
from tests.report.make import curated_run

pytest.importorskip("huggingface_hub")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """56 kept rows over six pictures, 29 preference pairs, four rejected rows."""
    return curated_run(tmp_path_factory.mktemp("published") / "run", 60, full=False)


@pytest.fixture
def waits() -> list[float]:
    """What was waited, in seconds."""
    return []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: list[float]) -> Iterator[HubServer]:
    """The Hub; this process is told where it is. The client's own waits between tries are written down, not waited."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_http, "time", types.SimpleNamespace(sleep=waits.append))
    with hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        yield found


def environment(server: HubServer, home: Path, **more: str) -> dict[str, Any]:
    """The environment of a process of its own that talks to the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **more,
    }
