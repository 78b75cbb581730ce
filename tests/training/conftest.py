"""A small curated set, and trainings of a few steps on it with the embedded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config import TrainConfig
from tests.export import make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed curated set of make.ROWS."""
    return make.curated(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="session")
def utility(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-instruct JSON of twelve rows, pictures in a folder next to it."""
    return make.llava_mix(tmp_path_factory.mktemp("utility"))


@pytest.fixture(scope="session")
def config(made: Path) -> Callable[..., TrainConfig]:
    """A configuration of three steps; `changes` over it."""

    def get(out: Path, **changes: Any) -> TrainConfig:
        few: dict[str, Any] = {"max_steps": 3, "batch_size": 4, "device_batch": 2, "log_steps": 1, "cpu": True}
        return TrainConfig(**{"data": str(made), "preset": "tiny", "out": str(out), **few, **changes})

    return get


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
