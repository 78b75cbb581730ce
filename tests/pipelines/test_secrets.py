"""A run with a token and a key in its environment: neither stands in anything that it leaves or says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.commands import curate, job, publish
from engine.commands import report as page
from tests.pipelines.conftest import folder_of, journalled, rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
SECRETS = {"HF_TOKEN": "hf_" + "Qx7" * 11, "MY_KEY": "key-" + "Zw9" * 11}


class Server(BaseHTTPRequestHandler):
    """A chat server that repeats the whole header it was sent in its errors, as proxies do."""

    seen: list[str | None] = []  # noqa: RUF012 (of the class: a handler lives for one request)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append(self.headers["Authorization"])
        broken = "sock number 3 " in asked
        choice = {"message": {"role": "assistant", "content": "No."}, "finish_reason": "stop"}
        answer: dict[str, Any] = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
        if broken:
            answer = {"error": f"cannot take {self.headers['Authorization']} for this"}
        body = json.dumps(answer).encode()
        self.send_response(422 if broken else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def told(path: Path) -> bytes:
    """What a file says: its bytes, and a table's cells, which are compressed."""
    raw = path.read_bytes()
    return raw + str(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else raw


def test_logs_manifests_data_and_pages_hold_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [{"image": f"{k % 4}.png", "text": f"What is sock number {k} made of?"} for k in range(8)]
    source, out = folder_of(tmp_path / "in", lines), tmp_path / "out"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "engine.generate", "--queries", "folder", "--path", str(source), "--model", "m"]
    command += ["--backend", "openai", "--base-url", f"http://127.0.0.1:{server.server_port}/v1"]
    command += ["--api-key-env", "MY_KEY", "--out", str(out)]
    # Ray's own session, with its logs, in a folder of this test; short, since sockets have names of 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ecso-", dir="/tmp") as session:
        environment = {**os.environ, **SECRETS, "RAY_TMPDIR": session}
        environment.pop("RAY_ADDRESS", None)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
        rays = b"".join(path.read_bytes() for path in Path(session).rglob("*.*") if path.is_file())
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(Server.seen) == {f"Bearer {SECRETS['MY_KEY']}"}, "the key was really in use"
    (failed,) = (row for row in rows(out, "transcripts") if row["status"] == "error")
    assert "<api key>" in failed["error_message"], "the server really repeated it"
    assert rays, "Ray's logs were really looked at"

    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    assert curate.main([str(out), "--out", str(tmp_path / "set")]) == 0
    assert page.main([str(tmp_path / "set"), "--run", str(out)]) == 0
    pies = ["--repo", "acme/pies", "--dry-run", "--out", str(tmp_path / "pies")]
    assert publish.main([str(out), *pies]) == 0
    config = tmp_path / "run.yaml"
    config.write_text('{"generate": {"queries": "vlguard", "path": "O/V", "out": "s3://b/o", "api_key_env": "MY_KEY"}}')
    names = ["--secrets", "HF_TOKEN=hf/token", "--secrets", "MY_KEY=my/key"]
    arguments = ["--target", "kuberay", "--config", str(config), "--image", "i:1", *names]
    assert job.main([*arguments, "--out", str(tmp_path / "job.yaml")]) == 0

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kinds = Counter(path.suffix for path in files)
    assert kinds[".parquet"] >= 6
    assert kinds[".html"] >= 2
    assert kinds[".json"] >= 4
    assert any(path.parent.name == "logs" for path in files)
    assert {path.name for path in files} >= {"manifest.json", "curation.json", "README.md", "job.yaml"}
    said = "".join(capfd.readouterr()) + done.stdout + done.stderr + str(journalled(out))
    for secret in SECRETS.values():
        hits = [str(path) for path in files if secret.encode() in told(path)]
        assert not hits
        assert secret not in said
        assert secret.encode() not in rays
