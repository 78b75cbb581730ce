"""The Hub branch, with the real client: against no network, a closed port, and a small server of our own.

Each case is a process of its own, because huggingface_hub reads its environment at import.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.sources import hub
from tests.sources.make import safe_record, unsafe_record, write_vlguard

COMMIT = "a" * 40
TOKEN = "hf_secretsecretsecret"

SCRIPT = """
import json, sys
from engine.errors import UsageError
from engine.sources import SourceConfig, load, open_source
try:
    source = open_source(SourceConfig(**json.loads(sys.argv[1])))
except UsageError as error:
    print(json.dumps({"error": str(error)}))
else:
    queries = [load(row) for window in source.windows() for row in window.rows()]
    print(json.dumps({"texts": [query.text for query in queries], "identity": source.identity()}))
"""


def run(tmp_path: Path, config: dict[str, str], **environment: str) -> dict[str, object]:
    """What `open_source` and `load` give in a fresh process with an empty Hub cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    command = [sys.executable, "-c", SCRIPT, json.dumps(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert TOKEN not in done.stdout + done.stderr
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


class Hub(BaseHTTPRequestHandler):
    """The two routes that the client needs: resolve a file, and the list of files. `served` is set by `hub_server`."""

    served: dict[str, bytes]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        granted = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not granted:
            self._send(401, b"", body, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif self.path.startswith("/api/datasets/"):
            self._send(200, self._listing(), body, {"Content-Type": "application/json"})
        elif (data := self.served.get(self.path.partition("/resolve/")[2].partition("/")[2])) is not None:
            etag = hashlib.sha256(data).hexdigest()
            self._send(200, data, body, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'})
        else:
            self._send(404, b"", body, {"X-Error-Code": "EntryNotFound"})

    def _listing(self) -> bytes:
        if "/tree/" in self.path:
            files = [
                {"type": "file", "path": name, "size": len(data), "oid": "x"} for name, data in self.served.items()
            ]
            return json.dumps(files).encode()
        siblings = [{"rfilename": name} for name in self.served]
        return json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings, "private": False}).encode()

    def _send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub_server(tmp_path: Path) -> Iterator[str]:
    folder = write_vlguard(tmp_path / "set", [unsafe_record(0), safe_record(1)], pictures="zip", prefix="train/")
    from tests.sources.test_parquet import write

    write(folder / "data" / "train-0.parquet", rows=3)
    files = [file for file in folder.rglob("*") if file.is_file()]
    handler = type("Handler", (Hub,), {"served": {str(file.relative_to(folder)): file.read_bytes() for file in files}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def assert_helps(answer: dict[str, object], reason: str) -> None:
    """One message: the reason, and the three ways to go on."""
    message = str(answer["error"])
    assert reason in message
    for part in ("https://huggingface.co/datasets/ys-zong/VLGuard", "HF_TOKEN", "--path DIR", "--queries sample"):
        assert part in message


def test_without_token_the_message_comes_at_once(tmp_path: Path) -> None:
    """Also without network: nothing is asked of the Hub."""
    started = time.monotonic()
    assert_helps(run(tmp_path, {"name": "vlguard"}), "found neither --path nor a token (HF_TOKEN)")
    assert time.monotonic() - started < 10


def test_without_network_the_message_says_how_to_get_the_data(tmp_path: Path) -> None:
    answer = run(tmp_path, {"name": "vlguard"}, HF_HUB_OFFLINE="1", HF_TOKEN=TOKEN)
    assert_helps(answer, "the Hub was not reached")


@pytest.mark.slow
def test_a_closed_port_is_no_network(tmp_path: Path) -> None:
    """The client itself tries for about 23 s."""
    answer = run(tmp_path, {"name": "vlguard"}, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN)
    assert_helps(answer, "the Hub was not reached")


def test_a_gated_set_without_token_says_so(tmp_path: Path, hub_server: str) -> None:
    answer = run(tmp_path, {"name": "vlguard"}, HF_ENDPOINT=hub_server)
    assert_helps(answer, "access is gated and not granted (HF_TOKEN is not set)")


def test_a_set_of_the_hub_is_read_from_its_zip(tmp_path: Path, hub_server: str) -> None:
    answer = run(tmp_path, {"name": "vlguard"}, HF_ENDPOINT=hub_server, HF_TOKEN=TOKEN)
    assert answer["texts"] == ["Describe 0", "What is 1?", "Can you misuse 1?"]
    identity = answer["identity"]
    assert isinstance(identity, dict)
    assert (identity["path"], identity["revision"], identity["split"]) == ("ys-zong/VLGuard", COMMIT, "train")
    offline = run(tmp_path, {"name": "vlguard"}, HF_HUB_OFFLINE="1")
    assert offline == answer


def test_another_token_variable_can_be_named(tmp_path: Path, hub_server: str) -> None:
    config = {"name": "vlguard", "path": "org/name", "token_env": "OTHER_TOKEN"}
    assert "texts" in run(tmp_path, config, HF_ENDPOINT=hub_server, OTHER_TOKEN=TOKEN)


def test_a_split_that_the_set_lacks_is_named(tmp_path: Path, hub_server: str) -> None:
    answer = run(tmp_path, {"name": "vlguard", "split": "dev"}, HF_ENDPOINT=hub_server, HF_TOKEN=TOKEN)
    assert_helps(answer, "ys-zong/VLGuard/dev.json does not exist on the Hub")


def test_parquet_sets_of_the_hub_are_read(tmp_path: Path, hub_server: str) -> None:
    config = {"name": "parquet", "path": "org/name", "split": "train"}
    answer = run(tmp_path, config, HF_ENDPOINT=hub_server, HF_TOKEN=TOKEN)
    assert answer["texts"] == ["q0", "q1", "q2"]
    refused = run(tmp_path, config, HF_ENDPOINT=hub_server)
    assert "access is gated" in str(refused["error"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("org/name", True), ("./a/b", False), ("/a/b", False), ("a", False), ("a/b/c", False), ("a/b.parquet", False)],
)
def test_hub_ids_are_told_from_paths(path: str, expected: bool) -> None:
    assert hub.is_hub_id(path) is expected
