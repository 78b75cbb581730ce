"""Where a picture's bytes are: small picklable references that a remote task reads when it needs them.

A path in a row is somebody else's text. It stays inside the source's folder after every symbolic link is followed, or
the row is an error: `../`, absolute paths, links that lead out and zip members that climb are all refused.
"""

from __future__ import annotations

import os
import stat
import zipfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Protocol

from engine.errors import SourceError

READ_LIMIT = 256 * 2**20
"""Bytes that `read()` takes at most without a limit of the caller's: a picture, not a disk image."""


class PictureRef(Protocol):
    """One picture, not yet read."""

    @property
    def name(self) -> str:
        """Where the picture is, for error messages."""
        ...

    def read(self, limit: int = READ_LIMIT) -> bytes:
        """The encoded bytes. Raises SourceError; also where there are more than `limit`."""
        ...


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold escaped: file names may contain any byte, tables and logs may not."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _too_large(name: str, size: int, limit: int) -> SourceError:
    return SourceError(f"{name}: the picture has {size:,} bytes; at most {limit:,} are accepted")


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file below `root`, named as the source names it."""

    root: str
    path: str

    @property
    def name(self) -> str:
        return printable(os.path.join(self.root, self.path))

    def read(self, limit: int = READ_LIMIT) -> bytes:
        inside = self._resolve()
        try:
            with open(inside, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > limit:
                    raise _too_large(self.name, size, limit)
                return file.read()
        except OSError as error:
            raise SourceError(f"{self.name}: the picture cannot be read ({error.strerror or error})") from error

    def _resolve(self) -> str:
        """The real path of the picture. Raises SourceError where it is missing, no file, or outside `root`."""
        if os.path.isabs(self.path):
            raise SourceError(f"{self.name}: found an absolute picture path, expected one relative to {self.root}")
        try:
            inside = os.path.realpath(os.path.join(self.root, self.path))
            found = os.stat(inside) if _is_below(inside, _real_root(self.root)) else None
        except FileNotFoundError as error:
            raise SourceError(f"{self.name}: no such picture (looked below {self.root})") from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name}: the picture path cannot be followed ({error})") from error
        if found is None:
            mend = f"expected one below {self.root}; move the picture there"
            raise SourceError(f"{self.name}: the picture path leaves its folder (leads to {printable(inside)}), {mend}")
        if not stat.S_ISREG(found.st_mode):
            raise SourceError(f"{self.name}: found a folder or device, expected a picture file")
        return inside


@lru_cache(maxsize=64)
def _real_root(root: str) -> str:
    return os.path.realpath(root)


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


@dataclass(frozen=True, slots=True)
class ZipRef:
    """A member of a zip archive, read without extracting anything."""

    archive: str
    member: str

    @property
    def name(self) -> str:
        return printable(f"{self.archive}!{self.member}")

    def read(self, limit: int = READ_LIMIT) -> bytes:
        parts = PurePosixPath(self.member.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts:
            raise SourceError(f"{self.name}: the member's path leaves the archive, expected one inside it")
        try:
            archive = open_zip(self.archive)
            info = archive.getinfo(self.member)
            if stat.S_ISLNK(info.external_attr >> 16):
                raise SourceError(f"{self.name}: found a symbolic link in the archive, expected a picture")
            if info.file_size > limit:
                raise _too_large(self.name, info.file_size, limit)
            return archive.read(info)
        except KeyError as error:
            raise SourceError(f"{self.name}: no such picture in the archive") from error
        except Exception as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"{self.name}: the archive does not give the picture ({error})") from error


def open_zip(path: str) -> zipfile.ZipFile:
    """The archive, opened once a process: reading the directory of a large zip costs more than a picture.

    Raises OSError or zipfile.BadZipFile.
    """
    found = os.stat(path)
    return _open_zip(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=4)
def _open_zip(path: str, size: int, changed: int) -> zipfile.ZipFile:
    """`size` and `changed` are part of the key: a replaced archive is opened anew."""
    del size, changed
    return zipfile.ZipFile(path)


@dataclass(frozen=True, slots=True)
class InlineRef:
    """Bytes already in hand."""

    data: bytes = field(repr=False)
    label: str = "picture"

    @property
    def name(self) -> str:
        return printable(self.label)

    def read(self, limit: int = READ_LIMIT) -> bytes:
        if len(self.data) > limit:
            raise _too_large(self.name, len(self.data), limit)
        return self.data


@dataclass(frozen=True, slots=True)
class ParquetRef:
    """One picture of a Parquet column: `item` counts within a list column, and is 0 elsewhere.

    Rows read in order decode their row group once (`parquet_cells`); the bytes never pass through the planning.
    """

    file: str
    row_group: int
    row: int
    column: str
    item: int = 0

    @property
    def name(self) -> str:
        """Padded, so that names in alphabetical order are cells in file order: the order that reads a group once."""
        return printable(f"{self.file}:{self.row_group:05}:{self.row:08}.{self.column}[{self.item:02}]")

    def read(self, limit: int = READ_LIMIT) -> bytes:
        from engine.sources.parquet_cells import read_picture

        return read_picture(self, limit)
