"""One output folder: a local path, s3:// or gs:// through fsspec. Every write is all or nothing.

What is promised where: locally a write is a temporary file, fsync, rename, fsync of the folder. On an object store
it is one put, which is atomic there. `create_exclusive` and `replace_if` are the two conditional writes that the run
lock stands on; S3 does them with `If-None-Match: *` and `If-Match: etag`. gs:// is written from gcsfs's documented
options and **has not been run** (untested); its `replace_if` is not atomic.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from engine.errors import UsageError
from engine.journal.bucket import Bucket
from engine.journal.local import LocalFolder

REMOTE = ("s3://", "s3a://", "gs://", "gcs://")


class Store:
    """The files of one output folder by their relative path. Safe to share between threads, and picklable.

    Reading a file that is not there raises FileNotFoundError. A failed write raises OutputError.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self.url = os.fspath(url)
        self._backend = _backend(self.url)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.url,)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @property
    def is_local(self) -> bool:
        """Whether files have a path on this machine (append, fsync and rename exist)."""
        return isinstance(self._backend, LocalFolder)

    def ensure(self) -> None:
        """Make the folder and prove that it takes a file. UsageError otherwise: nothing was started yet."""
        self._backend.ensure()

    def path(self, rel: str) -> str:
        """The full path or URL of `rel`. ValueError where `rel` would leave the folder."""
        return self._backend.path(rel)

    def read(self, rel: str) -> bytes:
        """The whole file."""
        return self._backend.read(rel)

    def open(self, rel: str) -> BinaryIO:
        """The file for reading in pieces and by offset."""
        return self._backend.open(rel)

    def write(self, rel: str, data: bytes) -> None:
        """Write or replace the file; a reader sees the old bytes or the new ones, never a part."""
        self._backend.write(rel, data)

    def exists(self, rel: str) -> bool:
        """Whether the file is there."""
        return self._backend.exists(rel)

    def size(self, rel: str) -> int:
        """Bytes of the file."""
        return self._backend.size(rel)

    def list(self, rel_dir: str = "") -> list[str]:
        """Relative paths of the files right inside `rel_dir`, sorted; empty where there is no such folder."""
        return self._backend.list(rel_dir)

    def remove(self, rel: str) -> None:
        """Remove the file; no error where it is gone already."""
        self._backend.remove(rel)

    def upload(self, local_path: str, rel: str) -> None:
        """Put a finished local file at `rel`. A local store moves it (it must stand on the same file system)."""
        self._backend.upload(local_path, rel)

    def spool_dir(self, rel_dir: str) -> str | None:
        """Where a file for `upload` should be written: inside the folder locally, None (any temp dir) otherwise."""
        return self._backend.spool_dir(rel_dir)

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """Create the file with `data`; False, and nothing changed, where it is there already."""
        return self._backend.create_exclusive(rel, data)

    def read_token(self, rel: str) -> tuple[bytes, str]:
        """The file and a token of exactly these bytes, for `replace_if`."""
        return self._backend.read_token(rel)

    def replace_if(self, rel: str, data: bytes, token: str) -> str | None:
        """Replace the file if it still is what `token` stands for: the new token, or None and nothing changed."""
        return self._backend.replace_if(rel, data, token)


def _backend(url: str) -> LocalFolder | Bucket:
    if url.startswith(REMOTE):
        return Bucket(url)
    if url.startswith("file://"):
        return LocalFolder(url.removeprefix("file://"))
    if "://" in url:
        raise UsageError(f"--out {url}: unknown kind of address; a local path, s3://… or gs://… is expected")
    if not url:
        raise UsageError("--out is empty; a local path, s3://… or gs://… is expected")
    return LocalFolder(url)
