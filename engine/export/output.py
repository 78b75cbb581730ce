"""The export folder: tables, JSON files and pictures, sealed by `export.json`.

The seal says `writing` from the first file on and `complete` at the end, so that an export that broke off is seen, and
can be written again in the same folder. A folder that holds anything else is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import schemas
from engine.errors import UsageError
from engine.export.json_file import JsonFile
from engine.export.pictures import plain
from engine.journal.local import TEMPORARY
from engine.journal.store import Store
from engine.parquet import Shard, TableWriter

if TYPE_CHECKING:
    import pyarrow as pa

SEAL = "export.json"
DATA, IMAGES = "data", "images"


class Output:
    """Writes one export. Every file appears whole; pictures are named by their sha256 and written once each.

    The folder is touched with the first file: what is wrong with the input shows before a former export is replaced.
    """

    def __init__(self, url: str) -> None:
        self.store = Store(url)
        self.files: list[Shard] = []
        self.notes: list[str] = []
        self._pictures: set[str] = set()
        self._before: set[str] | None = None

    @property
    def pictures(self) -> int:
        """Distinct picture files written."""
        return len(self._pictures)

    @contextlib.contextmanager
    def table(self, schema: pa.Schema) -> Iterator[TableRows]:
        """Parquet shards `data/*.parquet`."""
        self.begin()
        with TableWriter(self.store, DATA, schema) as writer:
            rows = TableRows(writer)
            yield rows
            rows.flush()
        self.files += writer.shards

    def json_list(self, name: str) -> contextlib.AbstractContextManager[JsonFile]:
        """One JSON file holding a list, an entry a line, written entry by entry."""
        return self._json(name, "[\n", ",\n", "\n]\n")

    def json_lines(self, name: str) -> contextlib.AbstractContextManager[JsonFile]:
        """One JSON document a line."""
        return self._json(name, "", "\n", "\n")

    def document(self, name: str, content: Mapping[str, Any]) -> None:
        """A small JSON file."""
        self.begin()
        data = json.dumps(content, indent=1, ensure_ascii=False).encode()
        self.store.write(name, data)
        self.files.append(Shard(name, 0, hashlib.sha256(data).hexdigest()))

    def picture(self, data: bytes) -> str:
        """Write the picture, in the form that trainers read alike; its path relative to the export."""
        before = self.begin()
        shown, suffix = plain(data)
        name = f"{IMAGES}/{hashlib.sha256(shown).hexdigest()}{suffix}"
        if name not in self._pictures:
            if name not in before:
                self.store.write(name, shown)
            self._pictures.add(name)
        return name

    def seal(self, document: Mapping[str, Any]) -> None:
        """Say that the export is complete, and remove what a former one left."""
        stale = self.begin() - self._pictures - {file.path for file in self.files}
        self._write_seal({**document, "status": "complete", "files": [file.entry() for file in self.files]})
        for name in sorted(stale):
            self.store.remove(name)

    def begin(self) -> set[str]:
        """Claim the folder, once; the files that a former export left. UsageError where it holds anything else."""
        if self._before is None:
            self.store.ensure()
            self._before = self._former()
            self._write_seal({"kind": "export", "status": "writing", "files": []})
        return self._before

    def _former(self) -> set[str]:
        root = [name for name in self.store.list() if not name.endswith(TEMPORARY)]
        ours = {name for folder in (DATA, IMAGES) for name in self.store.list(folder)}
        if SEAL not in root:
            if root or ours:
                raise UsageError(f"--out {self.store.url}: holds other files and no {SEAL}; choose a new folder")
            return set()
        try:
            former = json.loads(self.store.read(SEAL))
            listed = {str(file["path"]) for file in former["files"]}
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{self.store.path(SEAL)}: not the seal of an export; choose a new folder") from error
        if former.get("status") != "complete":
            listed |= {name for name in root if name.endswith((".json", ".jsonl"))}
        return (ours | listed) - {SEAL}

    def _write_seal(self, document: Mapping[str, Any]) -> None:
        schemas.check("export", document, where=SEAL)
        self.store.write(SEAL, json.dumps(document, indent=1, ensure_ascii=False).encode())

    @contextlib.contextmanager
    def _json(self, name: str, head: str, between: str, tail: str) -> Iterator[JsonFile]:
        self.begin()
        file = JsonFile(self.store, name, head, between)
        try:
            yield file
        except BaseException:
            file.drop()
            raise
        self.files.append(file.finish(tail))


class TableRows:
    """Rows on their way to a table, some at a time: a table of one row costs far more memory than its bytes."""

    ROWS, BYTES = 256, 16_000_000

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer
        self._rows: list[Mapping[str, Any]] = []
        self._bytes = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """One row; its pictures count towards the limit in bytes."""
        self._rows.append(row)
        self._bytes += sum(len(image["bytes"]) for image in row["images"])
        if len(self._rows) >= self.ROWS or self._bytes >= self.BYTES:
            self.flush()

    def flush(self) -> None:
        self._writer.write(self._rows)
        self._rows, self._bytes = [], 0
