"""`--strategy all`: which ones, which are skipped and why, and one line each with what they bring and cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.commands.evaluate import main
from engine.config import EvaluateConfig
from engine.errors import UsageError
from engine.evaluation import planning
from engine.evaluation.planning import plan
from engine.strategies import STRATEGIES
from engine.tiny import WORLD_FILE
from engine.tiny.heldout import write_kinds
from engine.tiny.world import load_world
from tests.evaluation.test_evaluate import cluster

__all__ = ["cluster"]
SAMPLE = "engine/tiny/sample"
NEED_MODELS = {"eta", "mllm_protector", "ecso+protector"}


def planned(**flags: Any) -> Any:
    return plan(EvaluateConfig(**{"benchmark": [f"vlguard={SAMPLE}"], "judge": ["world"], "out": "o", **flags}))


def test_all_is_every_strategy_that_has_its_models() -> None:
    found = planned(strategy=["all"])
    names = [run.strategy for run in found.runs]
    assert names[0] == "direct"
    assert set(names) == set(STRATEGIES) - NEED_MODELS - {"reference"}
    assert list(found.config.strategy) == names
    assert len(found.skipped) == len(NEED_MODELS)
    (eta,) = [line for line in found.skipped if " eta " in line]
    assert "--eta-clip MODEL and --eta-reward MODEL" in eta


def test_given_models_bring_their_strategy_and_named_ones_stay_first() -> None:
    found = planned(strategy=["reference", "all"], eta_clip="org/clip", eta_reward="org/reward")
    names = list(found.config.strategy)
    assert names[:2] == ["reference", "direct"]
    assert "eta" in names
    assert {run.strategy: run.config.eta_clip for run in found.runs} == {
        name: "org/clip" if name == "eta" else None for name in names
    }


def test_a_strategy_that_is_named_must_have_its_models() -> None:
    from engine.planning import plan_job

    with pytest.raises(UsageError, match="--eta-clip MODEL"):
        plan_job(planned(strategy=["eta"]).runs[0].config)


@pytest.mark.ray
@pytest.mark.slow
def test_one_command_one_table(
    tmp_path: Path, cluster: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripted, with a short list (each strategy starts its own actors): each with its calls; the same lines in the
    terminal, the file and the page."""
    few = ("direct", "reference", "ecso", "ecso_transcribe", "eta")
    monkeypatch.setattr(planning, "STRATEGIES", {name: STRATEGIES[name] for name in few})
    write_kinds(load_world(WORLD_FILE), tmp_path, count=4)
    flags = ["--benchmark", f"drawn={tmp_path / 'kinds'}", "--strategy", "all", "--backend", "scripted"]
    out = tmp_path / "o"
    assert main([*flags, "--judge", "keywords", "--limit", "12", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.err.count("is skipped") == 1
    document = json.loads((out / "scores.json").read_text())
    lines = {line["strategy"]: line for line in document["strategies"]}
    assert list(lines) == ["direct", "ecso", "ecso_transcribe"]
    assert lines["direct"]["calls_per_row"] == 1
    assert 2 <= lines["ecso"]["calls_per_row"] < lines["ecso_transcribe"]["calls_per_row"]
    for line in lines.values():
        assert line["rows"] == 12
        assert line["tokens_per_row"] > 0
        assert line["rows_per_s"] > 0
        assert [figure["words"] for figure in line["figures"]] == ["harmless answers", "refusals, benign"]
    assert "calls/row" in said.out
    assert 'id="strategies"' in (out / "evaluation.html").read_text()
    assert any("eta is skipped" in note for note in document["notes"])
