"""The local store: whole writes, clear refusals, conditional writes."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from pathlib import Path

import pytest

from engine.errors import OutputError, UsageError
from engine.journal.local import write_failed
from engine.journal.store import Store
from tests.journal.children import output


def test_files_by_relative_path(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("a/b.json", b"one")
    store.write("a/a.json", b"two")
    store.write("a/deeper/c", b"")
    assert store.is_local
    assert store.read("a/b.json") == b"one"
    assert store.list("a") == ["a/a.json", "a/b.json"]
    assert store.list("none") == store.list() == []
    assert (store.exists("a/b.json"), store.exists("a"), store.size("a/a.json")) == (True, False, 3)
    store.remove("a/b.json")
    store.remove("a/b.json")
    assert not store.exists("a/b.json")
    with pytest.raises(FileNotFoundError):
        store.read("a/b.json")


def test_upload_moves_the_file_in(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.spool_dir("tables")
    assert folder is not None
    Path(folder, ".x.tmp").write_bytes(b"rows")
    store.upload(f"{folder}/.x.tmp", "tables/x")
    assert store.list("tables") == ["tables/x"]


@pytest.mark.parametrize("rel", ["../x", "/etc/passwd", "a/../../x", "a\\..\\x"])
def test_no_path_leaves_the_folder(tmp_path: Path, rel: str) -> None:
    with pytest.raises(ValueError, match="does not stay inside"):
        Store(tmp_path).read(rel)


def test_it_pickles(tmp_path: Path) -> None:
    assert pickle.loads(pickle.dumps(Store(tmp_path))).url == str(tmp_path)


@pytest.mark.parametrize("url", ["ftp://host/x", "", "http://host/x"])
def test_unknown_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="a local path, s3://"):
        Store(url)


def test_a_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="choose another folder"):
        Store(tmp_path / "file/out").ensure()
    with pytest.raises(UsageError, match="choose another folder"):
        Store("/proc/ecso-cannot-write-here").ensure()


def test_a_write_that_fails_is_an_output_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        Store(tmp_path).write("file/x", b"")
    assert "free some space" in str(write_failed("x", OSError(errno.ENOSPC, "No space left on device")))


LIMIT = """
import os, resource, sys
from engine.errors import OutputError
from engine.journal.store import Store
store = Store(sys.argv[1])
store.write("x", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    store.write("x", b"n" * 2000)
except OutputError as error:
    print(store.read("x"), os.listdir(sys.argv[1]), error)
"""


@pytest.mark.kill
def test_a_full_disk_keeps_the_old_file_and_leaves_no_scrap(tmp_path: Path) -> None:
    printed = output(LIMIT, str(tmp_path))
    assert printed.startswith("b'old' ['x']")
    assert "no space left" in printed


def test_create_exclusive_lets_one_win(tmp_path: Path) -> None:
    won = race(lambda number: Store(tmp_path).create_exclusive("lock", f"{number}".encode()))
    assert len(won) == 1
    assert Store(tmp_path).read("lock") == f"{won[0]}".encode()
    assert os.listdir(tmp_path) == ["lock"]


def test_create_exclusive_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert Store(tmp_path).create_exclusive("lock", b"one")
    assert not Store(tmp_path).create_exclusive("lock", b"two")
    assert Store(tmp_path).read("lock") == b"one"


def test_replace_if_lets_one_win(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write("lock", b"start")
    _, token = store.read_token("lock")
    won = race(lambda number: Store(tmp_path).replace_if("lock", f"{number}".encode(), token) is not None)
    assert len(won) == 1
    assert store.read("lock") == f"{won[0]}".encode()


def test_replace_if_gives_the_next_token(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.replace_if("lock", b"x", "token of nothing") is None
    store.write("lock", b"1")
    token = store.replace_if("lock", b"2", store.read_token("lock")[1])
    assert token == store.read_token("lock")[1]


def race(attempt: object, rivals: int = 8) -> list[int]:
    barrier, won = threading.Barrier(rivals), []

    def run(number: int) -> None:
        barrier.wait()
        if attempt(number):  # type: ignore[operator]
            won.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(rivals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won
