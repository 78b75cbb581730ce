"""Curation on an object store, against moto's S3 server: whole, gates included, the same bytes as on a disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config import CurateConfig
from engine.curation.leakage import build
from engine.curation.leakage.file import save
from engine.errors import UsageError
from engine.journal.store import Store
from pipelines.curation import run
from tests.curation.dedup.test_choices import bring_in
from tests.curation.dedup.test_choices import sealed as meanings
from tests.curation.test_curate import planted

pytestmark = [pytest.mark.s3, pytest.mark.slow]
CARD = "What is written on the secret benchmark card of the green hill?"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def url(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    if not files.exists("curation"):
        files.mkdir("curation")
    return f"s3://curation/{request.node.name}"


def put(local: Path, url: str) -> str:
    """A folder of this machine on the store."""
    store = Store(url)
    for path in sorted(local.rglob("*")):
        if path.is_file():
            store.write(str(path.relative_to(local)), path.read_bytes())
    return url


def tables(document: dict[str, Any]) -> list[tuple[str, int, str]]:
    """(table, rows, sha256) of every shard: the names hold the configuration's hash, where the folders stand."""
    return [(file["path"].partition("/")[0], file["rows"], file["sha256"]) for file in document["files"]]


def test_gates_and_tables_are_those_of_a_disk(tmp_path: Path, url: str) -> None:
    """Exact duplicates, leakage by text and the report, from the store to the store; twice: the old shards go."""
    local, index = planted(tmp_path / "run"), tmp_path / "card.leak"
    (tmp_path / "q.json").write_text(json.dumps([{"question": CARD}]))
    save(build(tmp_path / "q.json", "cards"), index)
    remote = put(local, url)
    here = run(str(local), CurateConfig(leakage_index=[str(index)]))
    there = run(remote, CurateConfig(leakage_index=[str(index)]))
    assert there["reasons"] == here["reasons"]
    assert {"duplicate_exact", "leakage"} <= set(there["reasons"])
    assert tables(there) == tables(here)
    store = Store(remote)
    assert json.loads(store.read("curation.json"))["counts"] == here["counts"]
    assert b"<html" in store.read("report.html")[:200]
    again = run(remote, CurateConfig(leakage_index=[str(index)], max_share=0.5))
    listed = [name for table in ("sft", "preference", "rejected") for name in store.list(table)]
    assert sorted(listed) == sorted(file["path"] for file in again["files"])


def test_vectors_and_reviews(tmp_path: Path, url: str) -> None:
    """Semantic duplicates of two runs, annotations on the store, the set in a folder of its own."""
    local, ids = meanings(tmp_path / "run")
    bring_in(local, ids)
    remote = put(local, url)
    reviewed = tmp_path / "review.jsonl"
    reviewed.write_text(json.dumps({"query_id": ids["far", 0], "verdict": "harmful", "note": "no"}) + "\n")
    config = CurateConfig(dedup={"semantic": 0.95}, reviewed=str(reviewed), out=f"{url}-out", report=False)
    document = run(remote, config)
    assert document["reasons"] == {"duplicate_semantic": 1, "reviewed": 1}
    assert not Store(remote).exists("curation.json")


def test_a_shard_that_is_not_the_manifests(tmp_path: Path, url: str) -> None:
    remote = put(planted(tmp_path / "run"), url)
    store = Store(remote)
    (name,) = store.list("transcripts")
    store.write(name, store.read(name) + b"x")
    with pytest.raises(UsageError, match="the manifest says"):
        run(remote, CurateConfig(report=False))
