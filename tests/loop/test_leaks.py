"""What no training may see: rows of the evaluation sets and of the validation set, wherever they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.loop.heldout import LeakError
from engine.loop.run import run
from tests.loop.conftest import VALIDATION, Made, Recorder


def quiet(_text: str) -> None:
    """No progress lines."""


def heldout_mix(folder: Path) -> Path:
    """Utility rows: one, with the text of an evaluation row."""
    text = "Heldout question NUMBER 3 about the small garden of the old house?"
    turns = [{"from": "human", "value": text}, {"from": "gpt", "value": "An answer."}]
    mix = folder / "mix.json"
    mix.write_text(json.dumps([{"id": "1", "conversations": turns}]))
    return mix


def test_a_validation_query_in_the_training_rows_is_a_crash(make: Callable[..., Made]) -> None:
    """Before any candidate is trained."""
    runner = Recorder()
    with pytest.raises(LeakError, match="2 held-out queries stand among the 14 training rows") as found:
        run(*make(validation=VALIDATION, generate={"split": "leaky-validation"}), runner, quiet)
    assert "train-0" in str(found.value)
    assert not [name for name in runner.names if "train" in name]


def test_a_validation_set_of_held_out_queries_is_refused(make: Callable[..., Made]) -> None:
    runner = Recorder()
    validation = {**VALIDATION, "evaluate": {"benchmark": ["vlguard@known=somewhere"]}}
    with pytest.raises(UsageError, match="12 of its 12 queries are held-out queries too"):
        run(*make(validation=validation), runner, quiet)
    assert runner.names == ["base/evaluate", "base/validate"]
    run(*make(validation=VALIDATION, arms=["untouched"], out=f"{make()[0].out}-untuned"), runner, quiet)
    assert runner.names[2:] == ["base/evaluate"]  # nothing is chosen where nothing is trained


def test_a_held_out_query_in_the_training_rows_is_a_crash(make: Callable[..., Made]) -> None:
    runner = Recorder()
    with pytest.raises(LeakError, match="2 held-out queries stand among the 14 training rows") as found:
        run(*make(generate={"split": "leaky"}), runner, quiet)
    assert "known-test-direct: queries.json:" in str(found.value)
    assert not [name for name in runner.names if name.endswith("train")]


def test_a_held_out_query_in_the_utility_rows_is_a_crash(make: Callable[..., Made], tmp_path: Path) -> None:
    """By its text alone here, unless texts are only counted."""
    mix = heldout_mix(tmp_path)
    train = {"mix": str(mix), "mix_rows": 1}
    with pytest.raises(LeakError, match="1 held-out texts"):
        run(*make(train=train), Recorder(), quiet)
    document = run(*make(train=train, heldout_text="count"), Recorder(), quiet)
    assert [each["same_text"] for each in document["checks"]] == [1, 1]
    assert [each["rows"] for each in document["checks"]] == [13, 13]


@pytest.mark.parametrize("place", ["candidate", "variant", "then"])
def test_the_utility_rows_of_every_training_are_compared(make: Callable[..., Made], tmp_path: Path, place: str) -> None:
    """Not the arm's alone: a candidate, a variant and a training that follows may each bring their own."""
    leaking: dict[str, Any] = {"mix": str(heldout_mix(tmp_path)), "mix_rows": 1}
    places: dict[str, dict[str, Any]] = {
        "candidate": {"validation": {**VALIDATION, "candidates": [{"lr": 0.01}, leaking]}},
        "variant": {"variants": {"a": {"train": leaking}}},
        "then": {"variants": {"a": {"then": [{"lr": 0.01}, leaking]}}},
    }
    changes = places[place]
    last = {
        "candidate": "seed-0/tuned_ecso/round-1/train-1",
        "variant": "seed-0/variants/a/train",
        "then": "seed-0/variants/a/train-then-3",
    }[place]
    runner = Recorder()
    with pytest.raises(LeakError, match=f"stage {last}: 1 held-out texts"):
        run(*make(**changes), runner, quiet)
    assert last not in runner.names
    assert [name for name in runner.names if "train" in name]  # what came before it held nothing
    document = run(*make(**changes, heldout_text="count"), Recorder(), quiet)
    assert next(each["same_text"] for each in document["checks"] if each["stage"] == last) == 1
