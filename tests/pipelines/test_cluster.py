"""A cluster of two nodes, joined through RAY_ADDRESS; a node that dies; an output on an object store."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import GenerateConfig
from engine.errors import UsageError
from engine.journal.segments import JournalWriter, segments
from engine.journal.store import Store
from pipelines.blocks import Ack
from pipelines.ledger import Ledger
from pipelines.run import run
from tests.chaos.harness import ROOT, check_exactly_once
from tests.journal.make import transcript

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.kill
@pytest.mark.parametrize("kill", [False, True], ids=["whole", "a node dies"])
def test_two_nodes(tmp_path: Path, kill: bool) -> None:
    arguments = [sys.executable, "-m", "tests.pipelines.two_nodes", str(tmp_path / "out"), *(["kill"] if kill else [])]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert ("node killed" in done.stdout) == kill
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["status"] == "complete"
    check_exactly_once(tmp_path / "out", manifest["counts"]["read"], 16 * 2 if kill else 0)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 of our own (moto), reached by every process of the run through its environment."""
    server_module = pytest.importorskip("moto.server")
    import boto3
    import s3fs

    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _host, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    for key, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="runs")
    yield "s3://runs/one"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.s3
def test_object_store(bucket: str, tmp_path: Path) -> None:
    """The same run on s3://: journal segments, lock by conditional put, seal, resume, curation."""
    environment_run = [sys.executable, "-m", "engine.generate", "--backend", "scripted", "--out", bucket]
    for limit, expected in (("40", "40 transcripts"), ("90", "90 transcripts")):
        done = subprocess.run(
            [*environment_run, "--limit", limit], cwd=ROOT, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"complete: {expected}" in done.stdout
    import s3fs

    files = s3fs.S3FileSystem().find("runs/one")
    assert [name for name in files if "/sft/" in name]
    assert [name for name in files if name.endswith("manifest.json")]


@pytest.mark.s3
def test_an_acknowledgement_does_not_wait_for_all_rows_of_its_worker(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker on an object store would finish all its blocks before it got the next one."""
    from pipelines import worker as module

    monkeypatch.setattr(module, "LONGEST_KEPT_S", 0.1)
    worker = module.GenerateWorker.__new__(module.GenerateWorker)
    worker._local, worker._ready, worker._flushing, worker._unkept = False, False, False, []
    worker._ledger = Ledger.__new__(Ledger)
    worker._ledger.writer = JournalWriter(f"{bucket}/acks", "w")

    async def talk() -> Ack:
        worker._loop = asyncio.get_running_loop()
        slow = asyncio.create_task(asyncio.sleep(60, Ack("slow", "ok")))
        worker._ledger.writer.append(transcript())
        quick = asyncio.create_task(worker._durable(Ack("quick", "ok")))
        worker._tasks = {slow, quick}
        acknowledged = await asyncio.wait_for(quick, 20)
        slow.cancel()
        return acknowledged

    assert asyncio.run(talk()).query_id == "quick"
    assert len(segments(Store(f"{bucket}/acks"))) == 1
    del worker._ledger


@pytest.mark.usefixtures("cluster")
def test_workers_scale_with_the_work(tmp_path: Path) -> None:
    """MIN:MAX: more than one worker answered."""
    config = GenerateConfig(
        backend="scripted",
        out=str(tmp_path / "out"),
        workers="1:3",
        scripted_latency_ms=150,
        engine_arg={"capacity": 4},
    )
    assert run(config)["status"] == "complete"
    assert len(list((tmp_path / "out/journal").glob("*.rows"))) > 1


def test_workers_must_make_sense() -> None:
    with pytest.raises(UsageError, match="MIN:MAX"):
        _ = GenerateConfig(workers="3:1").pool
