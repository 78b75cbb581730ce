"""A distribution's parts through the real commands, in the workers of a cluster that others started, and the two
examples as a reader runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.conftest import rows
from tests.registry.distribution import brought

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
COMMANDS = """
import contextlib, os, sys
from ray.cluster_utils import Cluster

from engine.commands import annotate, curate, evaluate, generate
from pipelines import cluster

run, config, out, site = sys.argv[1:]
os.environ |= cluster.QUIET
others = Cluster(True, head_node_args={"num_cpus": 6, "include_dashboard": False})
os.environ["RAY_ADDRESS"] = others.address
sys.path.insert(0, site)  # only now: the cluster's own processes know nothing of it
answered = ["--strategy", "loud", "--backend", "scripted"]
with contextlib.ExitStack() as stack:
    stack.callback(others.shutdown)
    stack.enter_context(cluster.shared())
    assert generate.main([*answered, "--queries", "numbers", "--no-curate", "--out", run]) == 0
    assert annotate.main([run, "--judge", "capitals"]) == 0
    assert curate.main([run, "--config", config]) == 0
    asked = ["--benchmark", "counting", "--judge", "capitals"]
    assert evaluate.main(["--strategy", "loud", "--backend", "echo", "--model", "tiny", *asked, "--out", out]) == 0
"""


def python(*arguments: str, cwd: Path = ROOT) -> str:
    """What a fresh interpreter prints; it must end with 0."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.ray
def test_every_kind_through_its_command(tmp_path: Path) -> None:
    run, out, config = tmp_path / "run", tmp_path / "evaluation", tmp_path / "curate.yaml"
    config.write_text("curate: {filters: [verdict, {no_two: {word: after 1}}], report: false}")
    python("-c", COMMANDS, str(run), str(config), str(out), str(brought(tmp_path / "site")))

    transcripts = rows(run, "transcripts")
    assert {row["strategy"] for row in transcripts} == {"loud"}
    assert all(row["final_response"].isupper() and row["status"] == "ok" for row in transcripts)
    hashed = json.loads((run / "manifest.json").read_text())["fingerprint_fields"]
    told = {"distribution": "loudness", "version": "1.2"}
    assert hashed["strategy_from"] | told | {"target": "brought:loud"} == hashed["strategy_from"]
    assert hashed["queries_from"]["target"] == "brought:numbers"

    opinions = rows(run, "annotations")
    assert [row["verdict"] for row in opinions] == ["refused"] * 3
    assert all("loudness 1.2 (brought:capitals" in row["version"] for row in opinions)

    curation = json.loads((run / "curation.json").read_text())
    assert curation["reasons"] == {"named": 1}
    assert curation["filters_from"]["no_two"] | told == curation["filters_from"]["no_two"]

    scores = json.loads((out / "scores.json").read_text())
    assert scores["benchmarks"][0]["from"]["target"] == "brought:counting"
    refused = {line["judge"]: line["value"] for line in scores["metrics"] if line["name"] == "refusal_rate"}
    assert refused == {"capitals": 1.0}
    (judge,) = scores["runs"][0]["judges"]
    assert (judge["tells"], judge["model"]) == ("refusals", None)
    (answered,) = (out / "runs").iterdir()
    assert rows(answered, "transcripts")[0]["final_response"].startswith("LOUDLY: WHICH NUMBER"), "by backend echo"
    hashed = json.loads((answered / "manifest.json").read_text())["fingerprint_fields"]
    assert hashed["backend_from"]["target"] == "brought:Echo"


@pytest.mark.slow
@pytest.mark.ray
def test_the_examples(tmp_path: Path) -> None:
    """Each as its first lines say, in another folder; both short."""
    for name in ("add_a_strategy.py", "add_a_judge.py"):
        assert len((EXAMPLES / name).read_text().splitlines()) < 60
    python(str(EXAMPLES / "add_a_strategy.py"), "--backend", "scripted", "--no-curate", cwd=tmp_path)
    run = tmp_path / "runs/second-thought"
    transcripts = rows(run, "transcripts")
    assert [step["name"] for step in transcripts[0]["steps"]] == ["answer", "revise"]
    hashed = json.loads((run / "manifest.json").read_text())["fingerprint_fields"]
    assert hashed["strategy_from"]["target"] == "add_a_strategy:second_thought"
    said = python(str(EXAMPLES / "add_a_judge.py"), str(run), cwd=tmp_path)
    assert "apologises on final_response (1 apologies 0.1 (add_a_judge:apologises, code=" in said
    assert {row["verdict"] for row in rows(run, "annotations")} <= {"refused", "answered"}
    assert len(rows(run, "annotations")) == len(transcripts)
