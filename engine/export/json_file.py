"""A JSON file written entry by entry, in constant memory; it appears whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import OutputError
from engine.journal.local import TEMPORARY, write_failed
from engine.journal.store import Store
from engine.parquet import Shard


class JsonFile:
    """`write` adds an entry, `finish` puts the file in its place. Raises OutputError where a write fails."""

    def __init__(self, store: Store, name: str, head: str, between: str) -> None:
        self._store, self._name, self._between = store, name, between
        self._head = bool(head)
        self._temporary = None if store.is_local else tempfile.mkdtemp(prefix="ecso-export-")
        self._path = os.path.join(store.spool_dir("") or self._temporary or "", f".{name}{TEMPORARY}")
        self.rows = 0
        with self._failures():
            self._file = open(self._path, "w", encoding="utf-8", newline="\n")  # noqa: SIM115 (closed by finish or drop)
            self._file.write(head)

    def write(self, entry: Mapping[str, Any]) -> None:
        """One entry. OutputError names a row whose text is no Unicode (half of a surrogate pair)."""
        text = json.dumps(entry, ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OutputError(f"row {entry.get('id')}: its text is no Unicode ({error.reason})") from error
        with self._failures():
            self._file.write((self._between if self.rows else "") + text)
        self.rows += 1

    def finish(self, tail: str) -> Shard:
        with self._failures():
            self._file.write(tail if self.rows or self._head else "")
            self._file.close()
            with open(self._path, "rb") as done:
                checksum = hashlib.file_digest(done, "sha256").hexdigest()
        self._store.upload(self._path, self._name)
        self._remove()
        return Shard(self._name, self.rows, checksum)

    def drop(self) -> None:
        """Leave nothing."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if self._temporary:
            with contextlib.suppress(OSError):
                os.rmdir(self._temporary)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_failed(self._path, error) from error
