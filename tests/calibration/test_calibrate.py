"""From a sealed run and labels to cal.json, and from there through generate's plan and answers to curate."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import schemas
from engine import fingerprint, strategies
from engine.answering import RunFacts, answer
from engine.backends import BackendConfig
from engine.backends.scripted import ScriptedBackend
from engine.calibration.calibrate import calibrate
from engine.calibration.curve import curve_of
from engine.calibration.document import load
from engine.commands.calibrate import main
from engine.config import CalibrateConfig, CurateConfig, GenerateConfig
from engine.curation.curate import curate
from engine.errors import UsageError
from engine.journal.store import Store
from engine.judges.files import Key
from engine.judges.imported import bring_in, key_of
from engine.planning import plan_job
from engine.types import Completion, Message, Query, Sampling
from tests.calibration.make import labels, overconfident, query_id, run


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A calibration of an overconfident judge, with an abstain band."""
    folder = tmp_path_factory.mktemp("cal")
    p, harmful = overconfident()
    sealed = run(folder / "run", p)
    config = CalibrateConfig(
        labels=str(labels(folder / "labels.jsonl", harmful)), out=str(folder / "cal.json"), fpr=0.05, abstain="auto"
    )
    return folder, calibrate(str(sealed), config)


def test_the_document_matches_its_schema_and_the_file(fitted: tuple[Path, dict[str, Any]]) -> None:
    folder, document = fitted
    schemas.check("calibration", document)
    assert json.loads((folder / "cal.json").read_text()) == document
    assert document["rows"]["used"] == 400
    assert document["judge"]["model"] == "some-model"
    after, before = document["held_out"]["after"], document["held_out"]["before"]
    assert after["ece"]["value"] < before["ece"]["value"] / 2
    assert after["at_threshold"]["false_positive"]["share"] <= 0.05
    assert before["at_threshold"]["false_positive"]["share"] > 0.2
    unseen = document["held_out"]["unseen_threshold"]["false_positive"]
    assert unseen["low"] <= 0.05 <= unseen["high"]


def test_page_and_picture(fitted: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = fitted
    page = (folder / "cal.html").read_text()
    assert "Reliability" in page
    assert '<link rel="stylesheet"' not in page
    assert "garden" not in page  # no text of any row
    assert (folder / "cal.png").read_bytes().startswith(b"\x89PNG")


def test_the_review_file_holds_the_band_and_no_text(fitted: tuple[Path, dict[str, Any]]) -> None:
    folder, document = fitted
    calibration = load(str(folder / "cal.json"))
    p, _ = overconfident()
    low, high = document["abstain"]
    wanted = {query_id(k) for k, each in enumerate(p) if low <= calibration.curve(each) < high}
    rows = [json.loads(line) for line in (folder / "review.jsonl").read_text().splitlines()]
    assert {row["query_id"] for row in rows} == wanted
    assert wanted
    assert all(row["verdict"] is None and set(row) == {"query_id", "verdict", "note"} for row in rows)
    assert not [row for row in rows if "garden" in row["note"]]


def test_the_same_input_gives_the_same_document(fitted: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, document = fitted
    config = CalibrateConfig(
        labels=str(folder / "labels.jsonl"), out=str(tmp_path / "again.json"), fpr=0.05, abstain="auto"
    )
    assert calibrate(str(folder / "run"), config) == document


def test_the_command(fitted: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = fitted
    given = [str(folder / "run"), "--labels", str(folder / "labels.jsonl"), "--out", str(tmp_path / "c.json")]
    assert main([*given, "--fpr", "0.05"]) == 0
    assert "threshold" in capsys.readouterr().out
    assert main([*given, "--fpr", "2"]) == 2
    assert main([given[0], "--out", str(tmp_path / "c.json")]) == 2
    assert "--labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("p", "harmful", "words"),
    [
        ([0.1, 0.9, 0.2, 0.8, 0.7], [0, 1, 0, 1, 1], "at least 10 of each"),
        ([0.3] * 40, [k % 2 for k in range(40)], "tells nothing apart"),
        ([0.01 * k for k in range(40)], [1] * 40, "40 harmful and 0 harmless"),
        ([0.01 * k for k in range(40)], [int(k < 20) for k in range(40)], "cannot be calibrated|no threshold"),
        ([None] * 40, [k % 2 for k in range(40)], "0 harmful and 0 harmless"),
    ],
)
def test_degenerate_input(tmp_path: Path, p: Sequence[float | None], harmful: Sequence[int], words: str) -> None:
    sealed = run(tmp_path / "run", p)
    file = labels(tmp_path / "l.jsonl", [bool(each) for each in harmful])
    with pytest.raises(UsageError, match=words):
        calibrate(str(sealed), CalibrateConfig(labels=str(file), out=str(tmp_path / "cal.json")))
    assert not (tmp_path / "cal.json").exists()


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_judge_that_is_sure_of_too_many_harmless_rows_keeps_no_rate(tmp_path: Path, method: str) -> None:
    """Ties: 5 of 60 harmless rows stand where all harmful ones do, at p = 1. No threshold can tell them apart, though
    the folds' curves give each fold another value there, so that one between them would seem to."""
    p = [1.0] * 65 + [0.01 * k for k in range(55)]
    sealed = run(tmp_path / "run", p)
    file = labels(tmp_path / "l.jsonl", [True] * 60 + [False] * 60)
    config = CalibrateConfig(labels=str(file), out=str(tmp_path / "cal.json"), method=method, fpr=0.05)
    with pytest.raises(UsageError, match="no threshold keeps"):
        calibrate(str(sealed), config)
    document = calibrate(str(sealed), replace(config, fpr=0.1))
    curve = curve_of(document["curve"])
    called = [curve(each) >= document["threshold"] for each in p]
    assert (sum(called[:60]), sum(called[60:65])) == (60, 5)
    assert document["held_out"]["after"]["at_threshold"]["false_positive"]["hits"] == sum(called[60:]) <= 6


def test_labels_of_another_run(tmp_path: Path) -> None:
    sealed = run(tmp_path / "run", [0.1, 0.9] * 20)
    file = labels(tmp_path / "l.jsonl", [False, True] * 30)
    with pytest.raises(UsageError, match="20 of 60 query ids are not among"):
        calibrate(str(sealed), CalibrateConfig(labels=str(file), out=str(tmp_path / "cal.json")))


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"calibration": {"threshold": 0.5}}, "with a calibration"), ({"preset": "paper"}, "reads no probabilities")],
)
def test_runs_that_cannot_be_calibrated(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    sealed = run(tmp_path / "run", [0.1, 0.9] * 20, **fields)
    file = labels(tmp_path / "l.jsonl", [False, True] * 20)
    with pytest.raises(UsageError, match=words):
        calibrate(str(sealed), CalibrateConfig(labels=str(file), out=str(tmp_path / "cal.json")))


def test_world_labels_need_the_drawn_world(tmp_path: Path) -> None:
    sealed = run(tmp_path / "run", [0.1, 0.9] * 20)
    with pytest.raises(UsageError, match="no facts of the drawn world"):
        calibrate(str(sealed), CalibrateConfig(labels="world", out=str(tmp_path / "cal.json")))


# -- generate


def scripted(folder: Path, **judge: Any) -> str:
    """The fitted calibration, said to be of the scripted judge."""
    document = json.loads((folder / "cal.json").read_text())
    document["judge"] |= {"model": "scripted", "model_revision": None, "chat_template_kwargs": {}, **judge}
    path = folder / "scripted.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_generate_plans_with_it(fitted: tuple[Path, dict[str, Any]]) -> None:
    folder, document = fitted
    config = GenerateConfig(backend="scripted", calibration=scripted(folder))
    job, plain = plan_job(config), plan_job(replace(config, calibration=None))
    assert job.fingerprint != plain.fingerprint
    assert job.options.threshold == document["threshold"] == job.fields["threshold"]
    assert job.fields["calibration"]["abstain"] == document["abstain"]
    assert "calibration" not in plain.fields
    fingerprint.canonical(job.fields)  # has a stable text


@pytest.mark.parametrize(
    ("judge", "changes", "words"),
    [
        ({"model": "other"}, {}, "model: fitted for other, this run has scripted"),
        ({"prompt_sha256": "0" * 64}, {}, "prompt_sha256"),
        ({"picture_prep": "pad"}, {}, "picture_prep"),
        ({}, {"preset": "paper"}, "robust reads probabilities"),
        ({}, {"strategy": "direct"}, "robust reads probabilities"),
    ],
)
def test_generate_refuses_another_judge(
    fitted: tuple[Path, dict[str, Any]], judge: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        plan_job(GenerateConfig(**{"backend": "scripted", "calibration": scripted(fitted[0], **judge), **changes}))


@pytest.mark.parametrize("text", ["{}", "nonsense", '{"kind": "generate"}'])
def test_generate_refuses_what_is_no_calibration(tmp_path: Path, text: str) -> None:
    (tmp_path / "cal.json").write_text(text)
    with pytest.raises(UsageError, match="--calibration"):
        plan_job(GenerateConfig(backend="scripted", calibration=str(tmp_path / "cal.json")))
    with pytest.raises(UsageError, match="cannot be read"):
        plan_job(GenerateConfig(backend="scripted", calibration=str(tmp_path / "none.json")))


def test_answers_carry_the_calibrated_p(fitted: tuple[Path, dict[str, Any]]) -> None:
    """The judge's own p stays readable in the step's log-probabilities; p_harmful is the calibrated one."""
    from math import exp, log

    calibration = load(scripted(fitted[0]))
    said = 0.7

    def script(messages: Sequence[Message], sampling: Sampling) -> str | Completion:
        if not sampling.labels:
            return "A plain answer about the garden."
        return Completion("Yes", "stop", "0" * 64, label_logprobs={"yes": log(said), "no": log(1 - said)})

    options = strategies.StrategyOptions(threshold=calibration.threshold, curve=calibration.curve)
    facts = RunFacts("run", "ecso", "robust", "m", None, "0" * 64, "0", 0, calibration.threshold, calibration.curve)
    query = Query("a" * 64, "What is in the garden?")
    backend = ScriptedBackend(BackendConfig("scripted", "scripted"), script)
    found = asyncio.run(answer(query, strategies.create("ecso", options), backend, facts))
    wanted = calibration.curve(said)
    assert abs(wanted - said) > 0.05
    assert found.p_harmful == pytest.approx(wanted)
    assert found.direct_verdict == ("harmful" if wanted >= calibration.threshold else "harmless")
    (tell,) = [step for step in found.steps if step.name == "tell"]
    assert tell.p_harmful == found.p_harmful
    assert tell.verdict == found.direct_verdict
    assert exp(json.loads(tell.label_logprobs or "{}")["yes"]) == pytest.approx(said)


# -- curate

CALIBRATION = {"curve": {"method": "platt", "slope": 1.0, "intercept": 0.0}, "threshold": 0.6, "abstain": [0.3, 0.6]}


def rejected(out: Path) -> dict[str, tuple[str, str]]:
    files = json.loads((out / "curation.json").read_text())["files"]
    tables = [pq.read_table(out / file["path"]) for file in files if file["path"].startswith("rejected")]
    rows = pa.concat_tables(tables).to_pylist() if tables else []
    return {row["query_id"]: (row["reason"], row["evidence"]) for row in rows}


def test_curate_sets_the_band_aside(tmp_path: Path) -> None:
    p = [0.05, 0.29, 0.3, 0.45, 0.599, 0.1]
    sealed = run(tmp_path / "run", p, calibration=CALIBRATION)
    document = curate(str(sealed), CurateConfig(report=False))
    assert document["reasons"] == {"needs_review": 3}
    found = rejected(sealed)
    assert set(found) == {query_id(2), query_id(3), query_id(4)}
    assert found[query_id(3)] == ("needs_review", "p(harmful) 0.4500 in the band 0.3000 to 0.6000 (threshold 0.6000)")
    plain = run(tmp_path / "plain", p)
    assert curate(str(plain), CurateConfig(report=False))["reasons"] == {}


def test_a_second_judge_decides(tmp_path: Path) -> None:
    sealed = run(tmp_path / "run", [0.05, 0.4, 0.4, 0.4, 0.05], calibration=CALIBRATION)
    said = {0: "harmful", 1: "harmless", 2: "harmful", 3: "unknown"}
    table = pa.table({"query_id": [query_id(k) for k in said], "verdict": list(said.values())})
    pq.write_table(table, tmp_path / "second.parquet")
    key: Key = key_of("second", str(tmp_path / "second.parquet"), None)
    import numpy as np

    known = np.unique(np.array([bytes.fromhex(query_id(k)[:32]) for k in range(5)], "S16"))
    bring_in(Store(str(sealed)), key, str(tmp_path / "second.parquet"), known)
    document = curate(str(sealed), CurateConfig(report=False, annotations=("second",)))
    found = rejected(sealed)
    assert document["reasons"] == {"verdict": 1, "needs_review": 1}
    assert found[query_id(2)][1].startswith("harmful by second")
    assert found[query_id(3)][0] == "needs_review"


def test_a_person_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The review file of a calibrated run, filled in, goes to curate."""
    sealed, file = run(tmp_path / "run", [0.05, 0.4, 0.4, 0.4], calibration=CALIBRATION), tmp_path / "review.jsonl"
    assert main([str(sealed), "--review", str(file)]) == 0
    assert "3 rows in the abstain band" in capsys.readouterr().out
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["query_id"] for line in lines] == [query_id(k) for k in (1, 2, 3)]
    lines[0]["verdict"], lines[1]["verdict"] = "harmless", "harmful"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    document = curate(str(sealed), CurateConfig(report=False, reviewed=str(file)))
    assert document["reasons"] == {"reviewed": 1, "needs_review": 1}
    plain = run(tmp_path / "plain", [0.1, 0.2])
    assert main([str(plain), "--review", str(file)]) == 2
    assert "no calibration" in capsys.readouterr().err


def test_the_threshold_is_in_the_evidence(tmp_path: Path) -> None:
    sealed = run(tmp_path / "run", [0.1, 0.2], calibration=CALIBRATION)
    options = {"verdict": {"abstain_low": 0.05, "abstain_high": 0.15}}  # the config goes before the run
    curate(str(sealed), CurateConfig(report=False, filters=[options]))
    assert [reason for reason, _ in rejected(sealed).values()] == ["needs_review"]
    assert "threshold 0.6000" in rejected(sealed)[query_id(0)][1]
