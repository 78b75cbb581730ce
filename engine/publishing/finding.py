"""Pictures by content: where on this machine are the bytes with these checksums?

Names do not matter. Folders are walked, and zip, tar and Parquet files inside them opened; a file is only hashed if a
wanted picture has its size, so that a large folder costs a listing. Where they are found is kept, not the bytes.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from engine.errors import OutputError, UsageError

ZIPS, TARS, TABLES = (".zip",), (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), (".parquet",)
Reader = Callable[[], bytes]


class Finder:
    """Finds wanted pictures. `wanted`: sha256 -> bytes of the picture. Use as a context manager: it holds archives."""

    def __init__(self, wanted: Mapping[str, int]) -> None:
        self._wanted = wanted
        self._sizes = set(wanted.values())
        self._found: dict[str, Reader] = {}
        self._stack = ExitStack()
        self.looked_at = 0
        """Files and archive members that were seen, whether hashed or not."""

        self.unreadable: list[str] = []

    def __enter__(self) -> Finder:
        return self

    def __exit__(self, *rest: object) -> None:
        self._stack.close()

    @property
    def missing(self) -> list[str]:
        """Checksums that were not found."""
        return [sha for sha in self._wanted if sha not in self._found]

    def look(self, place: str) -> None:
        """Look through a folder, an archive or a Parquet file. UsageError where there is none."""
        path = Path(place).expanduser()
        if not path.exists():
            raise UsageError(f"--pictures {place}: not there; expected a folder, a zip, tar or Parquet file")
        for file in [path] if path.is_file() else _walk(path):
            if len(self._found) == len(self._wanted):
                return
            self._file(file)

    def read(self, facts: Mapping[str, Any]) -> bytes:
        """The bytes of a picture that was found."""
        return self._found[str(facts["sha256"])]()

    def _file(self, path: Path) -> None:
        name = path.name.lower()
        try:
            if name.endswith(ZIPS):
                self._zip(path)
            elif name.endswith(TARS):
                self._tar(path)
            elif name.endswith(TABLES):
                self._table(path)
            else:
                self.looked_at += 1
                if path.stat().st_size in self._sizes:
                    self._offer(path.read_bytes(), path.read_bytes)
        except (OSError, zipfile.BadZipFile, tarfile.TarError, RuntimeError, NotImplementedError, EOFError) as error:
            self.unreadable.append(f"{path}: {type(error).__name__}: {str(error)[:120]}")

    def _offer(self, data: bytes, reader: Reader) -> None:
        sha = hashlib.sha256(data).hexdigest()
        if sha in self._wanted and sha not in self._found:
            self._found[sha] = reader

    def _zip(self, path: Path) -> None:
        archive = self._stack.enter_context(zipfile.ZipFile(path))
        for member in archive.infolist():
            self.looked_at += 1
            if not member.is_dir() and member.file_size in self._sizes:
                self._offer(archive.read(member), partial(archive.read, member))

    def _tar(self, path: Path) -> None:
        """A compressed tar has no random access: its members are read from the start, once now and once each later."""
        archive = self._stack.enter_context(tarfile.open(path))  # noqa: SIM115 (the stack closes it)

        def read(member: tarfile.TarInfo) -> bytes:
            file = archive.extractfile(member)
            if file is None:
                raise OutputError(f"{path}: {member.name} cannot be read")
            return file.read()

        for member in archive:
            self.looked_at += 1
            if member.isfile() and member.size in self._sizes:
                self._offer(read(member), partial(read, member))

    def _table(self, path: Path) -> None:
        """Parquet with pictures as `datasets` stores them (a run's pictures/, any image set of the Hub)."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            shard = pq.ParquetFile(path)
        except pa.ArrowException as error:
            raise OSError(f"no Parquet file ({error})") from error
        for column in _picture_columns(shard.schema_arrow):
            for group in range(shard.num_row_groups):
                for row, data in enumerate(_cells(shard, group, column)):
                    self.looked_at += 1
                    if len(data) in self._sizes:
                        self._offer(data, _cell_reader(path, group, column, row))


def _walk(folder: Path) -> Iterator[Path]:
    """Files below the folder in the order of their names: the same pictures are found in the same place each time."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root) / name


def _picture_columns(schema: Any) -> list[str]:
    import pyarrow.types as types

    found = []
    for field in schema:
        kind = field.type.value_type if types.is_list(field.type) else field.type
        if types.is_struct(kind) and any(each.name == "bytes" and types.is_binary(each.type) for each in kind):
            found.append(field.name)
    return found


def _cells(shard: Any, group: int, column: str) -> Iterator[bytes]:
    for cell in shard.read_row_group(group, columns=[column]).column(0).to_pylist():
        for each in cell if isinstance(cell, list) else [cell]:
            yield (each or {}).get("bytes") or b""


def _cell_reader(path: Path, group: int, column: str, row: int) -> Reader:
    def read() -> bytes:
        import pyarrow.parquet as pq

        return _nth(_cells(pq.ParquetFile(path), group, column), row)

    return read


def _nth(cells: Iterable[bytes], row: int) -> bytes:
    for number, data in enumerate(cells):
        if number == row:
            return data
    raise OutputError("a Parquet file with pictures changed while it was read")
