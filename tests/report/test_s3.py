"""The report of a run on an object store is the one of the same run on a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.journal.store import Store
from engine.report import write_report
from tests.report.make import curated_run

pytestmark = [pytest.mark.s3]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir("report")
    yield "s3://report/run"
    server.stop()


def test_an_object_store(bucket: str, tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 20)
    far = Store(bucket)
    for file in sorted(out.rglob("*")):
        if file.is_file():
            far.write(str(file.relative_to(out)), file.read_bytes())
    assert write_report(bucket) == f"{bucket}/report.html"
    near = Path(write_report(str(out)))
    assert far.read("report.html") == near.read_bytes()
    elsewhere = f"{bucket}/pages/one.html"
    assert write_report(bucket, out=elsewhere) == elsewhere
    assert Store(f"{bucket}/pages").read("one.html") == near.read_bytes()
