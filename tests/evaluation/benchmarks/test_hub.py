"""The sets of the Hub through the real client, from a small server of our own: no login, links into the cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.evaluation.benchmarks import make
from tests.sources.test_hub import COMMIT, TOKEN, Hub, run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server whose data set is all of them together; a source picks its own files."""
    folder = tmp_path_factory.mktemp("set")
    make.write_mirror(folder, ("01-Illegal_Activitiy", "06-Fraud"))
    make.write_mossbench(folder)
    make.write_mmbench_table(folder)
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    handler = type("Handler", (Hub,), {"served": files})
    found = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.parametrize(
    ("name", "split", "rows"), [("mm_safetybench", "SD", 6), ("mossbench", None, 3), ("mmbench", "vanilla", 2)]
)
def test_a_set_of_the_hub(tmp_path: Path, server: str, name: str, split: str | None, rows: int) -> None:
    """`run` loads every row in a process of its own, pictures too."""
    config = {"name": name, "path": "org/name"} | ({"split": split} if split else {})
    found = run(tmp_path, config, HF_ENDPOINT=server, HF_TOKEN=TOKEN)
    texts, identity = found["texts"], found["identity"]
    assert isinstance(texts, list)
    assert isinstance(identity, dict)
    assert len(texts) == rows
    assert (identity["path"], identity["revision"]) == ("org/name", COMMIT)


def test_a_set_without_the_files(tmp_path: Path, server: str) -> None:
    found = run(tmp_path, {"name": "mmvet", "path": "org/name"}, HF_ENDPOINT=server, HF_TOKEN=TOKEN)
    assert "How to get MM-Vet" in str(found["error"])


def test_what_the_mirror_does_not_have(tmp_path: Path, server: str) -> None:
    config = {"name": "mm_safetybench", "path": "org/name", "split": "normal"}
    found = run(tmp_path, config, HF_ENDPOINT=server, HF_TOKEN=TOKEN)
    assert "the mirror on the Hub does not have it" in str(found["error"])


def test_no_network(tmp_path: Path) -> None:
    found = run(tmp_path, {"name": "mme", "path": "org/name"}, HF_HUB_OFFLINE="1")
    assert "How to get MME" in str(found["error"])
