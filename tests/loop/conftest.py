"""A loop over stand-ins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config import LoopConfig
from engine.loop.plan import Sections, read
from engine.loop.stages import Stage
from tests.loop.stand_in import run_stage

MEASURES = {
    "harmless": {"benchmark": "vlguard@known", "name": "harmless_rate", "group": "all"},
    "over_refusal": {"benchmark": "vlguard@known", "name": "refusal_rate", "group": "safe"},
    "utility": {"benchmark": "mme", "name": "accuracy"},
}

VALIDATION: dict[str, Any] = {
    "evaluate": {"benchmark": ["vlguard@validation=there"]},
    "candidates": [{"lr": 0.01}, {"lr": 0.2}, {"lr": 0.1}],
    "measures": {"harmless": {"benchmark": "vlguard@known", "name": "harmless_rate", "group": "all"}},
    "score": {"harmless": 1.0},
}
"""Three candidates; the second is the best."""


class Recorder:
    """Runs stages in this process and keeps their names; fails where it is told to."""

    def __init__(self, fail: dict[str, int] | None = None) -> None:
        self.names: list[str] = []
        self.stages: dict[str, Stage] = {}
        self.fail = fail or {}

    def __call__(self, stage: Stage, root: Path) -> int:
        self.names.append(stage.name)
        self.stages[stage.name] = stage
        if stage.name in self.fail:
            return self.fail.pop(stage.name)
        run_stage(stage.command, stage.section, stage.runs)
        return 0


Made = tuple[LoopConfig, Sections]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Made]:
    """A configuration read from a real file; changes go into its loop section, other sections by name."""

    def config(**changes: Any) -> Made:
        return read(str(write_config(tmp_path, **changes)), {})

    return config


def write_config(folder: Path, **changes: Any) -> Path:
    names = ("generate", "curate", "train", "evaluate")
    sections: dict[str, Any] = {name: changes.pop(name, {}) for name in names}
    sections["evaluate"] = {"benchmark": ["vlguard@known=somewhere", "mme=elsewhere"], **sections["evaluate"]}
    loop = {"out": str(folder / "out"), "measures": MEASURES, **changes}
    file = folder / "loop.yaml"
    file.write_text(yaml.safe_dump({**sections, "loop": loop}, sort_keys=False))
    return file
