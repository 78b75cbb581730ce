"""The same on an object store, against moto's S3 server: journal, done, lock, seal, verify."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine.errors import OutputBusyError, OutputError, UsageError
from engine.journal.index import done
from engine.journal.lock import LOCK, RunLock, myself
from engine.journal.manifest import read_manifest, verify
from engine.journal.run import open_run
from engine.journal.seal import seal, seal_in_process
from engine.journal.segments import PICTURES, JournalWriter, segments
from engine.journal.store import Store
from tests.journal.children import start
from tests.journal.make import RUN, hex_id, picture, sealed_rows, transcript
from tests.journal.test_store import race

pytestmark = [pytest.mark.s3, pytest.mark.slow]


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
    if not files.exists("bucket"):
        files.mkdir("bucket")
    return f"s3://bucket/{request.node.name}"


def fill(url: str, worker: str, rows: range) -> None:
    with JournalWriter(url, worker) as writer:
        for number in rows:
            shown = picture(number % 2)
            writer.add_picture(shown)
            writer.append(transcript(number, index=number, pictures=[shown]))


def test_files(url: str) -> None:
    store = Store(url)
    store.ensure()
    assert not store.is_local
    assert store.list() == []
    store.write("a/b", b"one")
    store.write("a/c/d", b"two")
    assert (store.read("a/b"), store.list("a"), store.exists("a/b"), store.size("a/b")) == (b"one", ["a/b"], True, 3)
    store.write("a/b", b"three")
    assert (store.size("a/b"), store.read("a/b")) == (5, b"three")
    store.remove("a/b")
    store.remove("a/b")
    assert not store.exists("a/b")
    with pytest.raises(FileNotFoundError):
        store.read("a/b")


def test_conditional_writes(url: str) -> None:
    store = Store(url)
    assert store.create_exclusive("x", b"1")
    assert not store.create_exclusive("x", b"2")
    data, token = store.read_token("x")
    assert data == b"1"
    following = store.replace_if("x", b"3", token)
    assert following == store.read_token("x")[1]
    assert store.replace_if("x", b"4", token) is None
    assert store.replace_if("missing", b"4", token) is None
    assert store.read("x") == b"3"


def test_a_bucket_that_is_not_there_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        Store("s3://no-such-bucket/x").ensure()
    with pytest.raises(OutputError, match="cannot be written"):
        Store("s3://no-such-bucket/x").write("y", b"")


def test_rows_are_put_as_immutable_segments_pictures_first(url: str) -> None:
    writer = JournalWriter(url, "w", segment_s=3600)
    shown = picture("p")
    writer.add_picture(shown)
    writer.append(transcript("a", pictures=[shown]))
    assert segments(Store(url)) == []
    writer.flush()
    writer.append(transcript("b", index=1))
    writer.close()
    assert segments(Store(url)) == ["journal/w-000000.rows", "journal/w-000001.rows"]
    assert segments(Store(url), PICTURES) == ["journal/w-000000.pictures"]
    assert done(url, retry_errors=False).has_ids([hex_id("a"), hex_id("b")]).all()


def test_a_segment_is_put_by_time_and_by_size(url: str) -> None:
    with JournalWriter(f"{url}/time", "w", segment_s=0.3) as writer:
        writer.append(transcript())
        time.sleep(1.0)
        assert len(segments(Store(f"{url}/time"))) == 1
    with JournalWriter(f"{url}/size", "w", segment_bytes=5000) as writer:
        for number in range(8):
            writer.append(transcript(number, index=number))
        assert len(segments(Store(f"{url}/size"))) >= 2


def test_a_failed_put_stops_the_writer(url: str) -> None:
    writer = JournalWriter("s3://no-such-bucket/x", "w", segment_s=3600)
    writer.append(transcript())
    with pytest.raises(OutputError):
        writer.flush()
    with pytest.raises(OutputError):
        writer.append(transcript("b", index=1))
    writer.close()


def test_closing_tells_of_a_put_that_failed_unseen(url: str) -> None:
    writer = JournalWriter("s3://no-such-bucket/x", "w", segment_s=3600)
    writer.append(transcript())
    with pytest.raises(OutputError):
        writer.close()


def test_a_run_is_sealed_verified_and_sealed_again(url: str) -> None:
    state = open_run(url, "f" * 64, {"seed": 0}, lambda: "run-1")
    assert not state.resumed
    fill(url, "w1", range(5))
    first = seal(url, run=replace(RUN, expected=5))
    assert (first["status"], first["counts"]["pictures"]) == ("complete", 2)
    verify(url)
    fill(url, "w2", range(5, 9))
    second = seal_in_process(url, run=replace(RUN, expected=9))
    assert second == read_manifest(url)
    assert [row["source_index"] for row in sealed_rows(url, second)] == list(range(9))
    assert Store(url).list("transcripts") + Store(url).list("pictures") == [entry["path"] for entry in second["files"]]
    verify(url)
    assert open_run(url, "f" * 64, {"seed": 0}, lambda: "run-2").run_id == "run-1"


def test_the_lock(url: str) -> None:
    store = Store(url)
    with RunLock(store, lease_s=0.6) as held:
        time.sleep(1.0)
        assert not held.lost.is_set()
        assert json.loads(store.read(LOCK))["beat"] >= 2
        with pytest.raises(OutputBusyError):
            RunLock(Store(url)).acquire()
    with RunLock(Store(url)):
        pass
    store.write(LOCK, replace(myself(0.5), host="other", place="elsewhere").text())
    with RunLock(Store(url)):
        pass


def test_a_lost_lock_is_noticed(url: str) -> None:
    with RunLock(Store(url), lease_s=0.3) as held:
        Store(url).write(LOCK, replace(myself(0.5), host="other", place="elsewhere").text())
        assert held.lost.wait(3)


def test_of_many_rivals_one_creates_and_one_replaces(url: str) -> None:
    assert len(race(lambda number: Store(url).create_exclusive("x", f"{number}".encode()), rivals=4)) == 1
    _, token = Store(url).read_token("x")
    won = race(lambda number: Store(url).replace_if("x", f"new {number}".encode(), token) is not None, rivals=4)
    assert len(won) == 1


KILLED = """
import sys, time
from engine.journal.segments import JournalWriter
from tests.journal.make import transcript
writer = JournalWriter(sys.argv[1], "killed", segment_s=3600)
for number in range(10):
    writer.append(transcript(number, index=number))
    if number == 4:
        writer.flush()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.kill
def test_kill_9_costs_at_most_the_segment_that_was_not_put(url: str) -> None:
    child = start(KILLED, url)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.kill()
    child.communicate()
    found = done(url, retry_errors=False)
    assert found.has_keys([f"rows.jsonl:{number}" for number in range(10)]).tolist() == [True] * 5 + [False] * 5
