"""Fixtures: one small curated set, one utility set, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export import make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed curated set of make.ROWS."""
    return make.curated(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="session")
def utility(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-instruct JSON of twelve rows, pictures in a folder next to it."""
    return make.llava_mix(tmp_path_factory.mktemp("utility"))
