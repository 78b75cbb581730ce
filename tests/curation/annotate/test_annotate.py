"""The whole command over Ray: resume, force, bad rows, dead servers, byte-identical results, real tiny model."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.commands.annotate import main
from engine.curation.annotations import read
from engine.errors import (
    BreakerError,
    EngineDeadError,
    OutputBusyError,
    OutputError,
    PromptError,
    RequestError,
    UsageError,
)
from engine.journal.lock import RunLock
from engine.journal.store import Store
from engine.judges import files
from engine.judges.planning import AnnotateConfig
from engine.types import Completion, Message, Sampling
from pipelines.annotation import annotate
from tests.chaos.harness import ROOT
from tests.curation.annotate.conftest import annotations, make_run
from tests.journal.make import hex_id

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]


def asked(run: str, *judges: str, script: Any = None, **flags: Any) -> AnnotateConfig:
    arguments = {} if script is None else {"engine_arg": {"script": script}}
    return AnnotateConfig(run, judges or ("harm",), backend="scripted", **arguments, **flags)


def contents(run: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(run, "annotations").iterdir()}


def unreliable(messages: list[Message], sampling: Sampling) -> Completion:
    """By row: a server's error, a prompt that does not fit, a reply that says neither, a bug, a plain no."""
    number = int(messages[0].text.partition("question ")[2].split()[0])
    if number == 0:
        raise RequestError("busy")
    if number == 1:
        raise PromptError("too long")
    if number == 3:
        raise ZeroDivisionError("a judge from outside may have its bugs")
    return Completion("Hm." if number == 2 else "No.", "stop", "0" * 64)


def reliable(messages: list[Message], sampling: Sampling) -> Completion:
    return Completion("No.", "stop", "0" * 64)


reliable.__qualname__ = unreliable.__qualname__  # the same judge to the version: the server got well


def dead(messages: list[Message], sampling: Sampling) -> Completion:
    raise RequestError("connection refused")


def test_verdicts_resume_and_force(run: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    url = run(30, errors=3)
    (first,) = annotate(asked(url, field="direct_response"))
    assert "harm: 27 of 27 rows judged" in capsys.readouterr().err.splitlines()
    assert (first.eligible, first.before, first.judged, first.failed) == (27, 0, 27, 0)
    harmful = sum(number % 3 == 0 for number in range(3, 30))
    assert first.verdicts == Counter(harmless=27 - harmful, harmful=harmful)
    found = read(Store(url), {})
    for number in range(3, 30):
        judged = found.get(hex_id(number), "harm")
        assert judged is not None
        assert judged.verdict == ("harmful" if number % 3 == 0 else "harmless")
    before = contents(url)
    (second,) = annotate(asked(url, field="direct_response"))
    assert (second.judged, second.before) == (0, 27)
    assert contents(url) == before
    (third,) = annotate(asked(url, field="direct_response", force=True))
    assert (third.judged, third.before) == (27, 0)
    assert contents(url) == before


@pytest.mark.slow
def test_workers_change_nothing_and_an_interrupted_call_goes_on(
    run: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of 8 rows; then as after a kill: some parts are there, some are not, some are put together."""
    monkeypatch.setattr(files, "WINDOW_ROWS", 8)
    one, two = run(60, "one"), run(60, "two")
    annotate(asked(one))
    annotate(asked(two, workers=2))
    assert contents(one) == contents(two)
    assert len(annotations(one)) == 60
    half = run(60, "half")
    gather = files.gather
    monkeypatch.setattr(files, "gather", lambda store, key: [])
    annotate(asked(half))
    monkeypatch.setattr(files, "gather", gather)
    parts = sorted(Path(half, "annotations").glob("*-part-*"))
    assert len(parts) == 8
    for part in parts[1::2]:
        part.unlink()
    (report,) = annotate(asked(half))
    assert report.before == 32
    assert contents(half) == contents(one)


def test_bad_judgements(run: Callable[..., str]) -> None:
    """Unreadable: unknown. Does not fit: unknown, with the reason. Failed request: no annotation, asked again."""
    url = run(30)
    (report,) = annotate(asked(url, script=unreliable))
    assert (report.judged, report.failed) == (28, 2)
    assert report.verdicts == Counter(harmless=26, unknown=2)
    texts = {row["query_id"]: (row["verdict"], row["text"]) for row in annotations(url)}
    assert not {hex_id(0), hex_id(3)} & set(texts)
    assert texts[hex_id(1)] == ("unknown", "too long")
    assert texts[hex_id(2)] == ("unknown", "Hm.")
    (again,) = annotate(asked(url, script=reliable))
    assert (again.judged, again.failed, again.before) == (2, 0, 28)
    assert {row["query_id"] for row in annotations(url)} == {hex_id(number) for number in range(30)}


def test_a_dead_server_trips_the_breaker(run: Callable[..., str]) -> None:
    url = run(40)
    with pytest.raises(BreakerError, match="connection refused"):
        annotate(asked(url, script=dead))
    assert annotations(url) == []
    nobody = ["--backend", "openai", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"]
    assert main([url, "--judge", "harm", *nobody]) == 2


@pytest.mark.slow
def test_a_dead_engine_is_started_again(run: Callable[..., str], tmp_path: Path) -> None:
    """The first worker dies in its first window; another one judges every row."""
    url, mark = run(10), tmp_path / "died"

    def dies_once(messages: list[Message], sampling: Sampling) -> Completion:
        if not mark.exists():
            mark.touch()
            raise EngineDeadError("gone")
        return Completion("No.", "stop", "0" * 64)

    (report,) = annotate(asked(url, script=dies_once))
    assert mark.exists()
    assert (report.judged, report.failed) == (10, 0)


def test_several_judges_in_one_call(run: Callable[..., str], tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    url = run(12)
    vectors = [{"query_id": hex_id(number), "embedding": [1.0, float(number)]} for number in range(15)]
    pq.write_table(pa.Table.from_pylist(vectors), tmp_path / "v.parquet")
    given = ("refusal", "harm", "refusal_llm", f"embedding={tmp_path / 'v.parquet'}")
    reports = annotate(asked(url, *given))
    assert [(report.judge, report.judged, report.others) for report in reports] == [
        ("refusal", 12, 0),
        ("harm", 12, 0),
        ("refusal_llm", 12, 0),
        ("embedding", 12, 3),
    ]
    found = read(Store(url), {})
    assert {key.judge for key in found.keys} == {"refusal", "harm", "refusal_llm", "embedding"}
    assert sum(table.num_rows for table in found.embeddings()) == 12
    assert [report.judged for report in annotate(asked(url, *given))] == [0, 0, 0, 0]


def test_what_is_refused(run: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="not a sealed run"):
        annotate(asked(str(tmp_path / "nothing")))
    partial = run(5, "partial", complete=False)
    with pytest.raises(UsageError, match="partial"):
        annotate(asked(partial))
    assert annotate(asked(partial, allow_partial=True))[0].judged == 5
    whole = run(5)
    with RunLock(Store(whole)), pytest.raises(OutputBusyError):
        annotate(asked(whole))
    assert main([whole]) == 2
    assert main([whole, "--judge", "refusl"]) == 2
    assert main([whole, "--judge", "harm", "--model", str(tmp_path), "--backend", "transformers"]) == 2
    assert "no config.json" in capsys.readouterr().err
    assert not Path(whole, "annotations").exists()
    file = tmp_path / "ecso.yaml"
    for text, words in (
        ("judge: [refusl]", "did you mean refusal"),
        ("juge: [harm]", "juge"),
        ("workers: 0", "workers"),
    ):
        file.write_text(f"annotate: {{{text}}}\n")
        assert main([whole, "--config", str(file)]) == 2
        assert words in capsys.readouterr().err
    file.write_text("annotate: {judge: [harm], backend: scripted, field: direct_response}\n")
    assert main([whole, "--config", str(file)]) == 0
    assert "harm on direct_response" in capsys.readouterr().out


def test_a_failed_write_is_an_error(run: Callable[..., str]) -> None:
    url = run(5)
    Path(url, "annotations").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        annotate(asked(url))


@pytest.mark.torch
@pytest.mark.slow
def test_the_tiny_model_judges_itself(tmp_path: Path) -> None:
    """Through transformers, with pictures: the same verdicts as the run's own steps."""
    pytest.importorskip("torch")
    from engine.config import GenerateConfig
    from pipelines.run import run as generate
    from tests.pipelines.conftest import rows

    url = str(tmp_path / "run")
    generate(GenerateConfig(backend="transformers", limit=8, no_curate=True, out=url))
    config = AnnotateConfig(url, ("harm",), model="tiny", backend="transformers", field="direct_response")
    (report,) = annotate(config)
    assert (report.judged, report.failed) == (8, 0)
    found = read(Store(url), {})
    for row in rows(url, "transcripts"):
        judged = found.get(row["query_id"], "harm")
        assert judged is not None
        assert judged.verdict == row["direct_verdict"]
        assert judged.p == pytest.approx(row["p_harmful"], abs=1e-3)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server_module = pytest.importorskip("moto.server")
    import boto3
    import s3fs

    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _host, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for key, value in {"AWS_ENDPOINT_URL": endpoint, **environment}.items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="runs")
    yield "s3://runs/annotated"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.s3
@pytest.mark.slow
def test_object_store(bucket: str) -> None:
    make_run(bucket, 20)
    command = [sys.executable, "-m", "engine.annotate", bucket, "--judge", "harm", "--backend", "scripted"]
    for expected in ("20 judged · 0 before", "0 judged · 20 before"):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        assert expected in done.stdout
    assert read(Store(bucket), {}).get(hex_id(3), "harm") is not None
