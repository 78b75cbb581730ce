"""A folder on this machine: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from engine.errors import OutputError, UsageError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
TEMPORARY = ".tmp"
"""Suffix of files that were never finished: readers pass them over, sealing sweeps them away."""


def checked(rel: str) -> str:
    """`rel` itself. ValueError where it is absolute or climbs out: paths also come from manifests on disk."""
    parts = PurePosixPath(rel).parts
    if rel.startswith("/") or ".." in parts or "\\" in rel:
        raise ValueError(f"{rel!r} does not stay inside the output folder")
    return rel


def write_failed(path: str, error: OSError) -> OutputError:
    """The OutputError of a failed write: says whether space, rights or something else is missing."""
    if error.errno in FULL:
        return OutputError(
            f"{path}: no space left ({error.strerror}). What was finished is safe: free some space and run again"
        )
    return OutputError(f"{path}: cannot be written ({error.strerror or error})")


def fsync_dir(path: str) -> None:
    """Make a new name durable. A file system that cannot fsync folders is left as it is."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: str) -> None:
    """Make the bytes of a finished file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalFolder:
    """The local half of `Store`."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))

    def ensure(self) -> None:
        probe = os.path.join(self.root, f".probe-{secrets.token_hex(4)}{TEMPORARY}")
        try:
            os.makedirs(self.root, exist_ok=True)
            Path(probe).write_bytes(b"ok")
            os.unlink(probe)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(probe)
            if error.errno in FULL:
                raise write_failed(self.root, error) from error
            raise UsageError(
                f"--out {self.root}: cannot be written ({error.strerror or error}); choose another folder"
            ) from error

    def path(self, rel: str) -> str:
        return os.path.join(self.root, checked(rel))

    def read(self, rel: str) -> bytes:
        return Path(self.path(rel)).read_bytes()

    def open(self, rel: str) -> BinaryIO:
        return open(self.path(rel), "rb", buffering=1 << 20)

    def write(self, rel: str, data: bytes) -> None:
        target = self.path(rel)
        with _failures(target), self._temporary(target, data) as temporary:
            os.replace(temporary, target)
            fsync_dir(os.path.dirname(target))

    def exists(self, rel: str) -> bool:
        return os.path.isfile(self.path(rel))

    def size(self, rel: str) -> int:
        return os.stat(self.path(rel)).st_size

    def list(self, rel_dir: str) -> list[str]:
        try:
            with os.scandir(self.path(rel_dir)) as entries:
                names = [entry.name for entry in entries if entry.is_file()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(f"{rel_dir}/{name}" if rel_dir else name for name in names)

    def remove(self, rel: str) -> None:
        with _failures(self.path(rel)), contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(rel))

    def upload(self, local_path: str, rel: str) -> None:
        target = self.path(rel)
        with _failures(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            fsync_file(local_path)
            os.replace(local_path, target)
            fsync_dir(os.path.dirname(target))

    def spool_dir(self, rel_dir: str) -> str | None:
        folder = self.path(rel_dir)
        with _failures(folder):
            os.makedirs(folder, exist_ok=True)
        return folder

    def create_exclusive(self, rel: str, data: bytes) -> bool:
        """A hard link appears with its bytes inside: a rival never reads an empty lock, as after O_EXCL and a crash."""
        target = self.path(rel)
        with _failures(target), self._temporary(target, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                    raise
                return self._create_without_links(target, data)
            fsync_dir(os.path.dirname(target))
        return True

    @staticmethod
    def _create_without_links(target: str, data: bytes) -> bool:
        try:
            descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return True

    def read_token(self, rel: str) -> tuple[bytes, str]:
        data = self.read(rel)
        return data, hashlib.sha256(data).hexdigest()

    def replace_if(self, rel: str, data: bytes, token: str) -> str | None:
        """Compare and replace under flock on a neighbouring file: the kernel lets go of it when its holder dies."""
        import fcntl

        guard = os.path.join(os.path.dirname(self.path(rel)), f".{os.path.basename(rel)}.guard")
        with _failures(guard):
            descriptor = os.open(guard, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                _, current = self.read_token(rel)
            except FileNotFoundError:
                return None
            if current != token:
                return None
            self.write(rel, data)
            return hashlib.sha256(data).hexdigest()
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _temporary(self, target: str, data: bytes) -> Iterator[str]:
        folder, name = os.path.split(target)
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}{TEMPORARY}")
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


@contextlib.contextmanager
def _failures(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_failed(path, error) from error
