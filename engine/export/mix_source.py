"""A utility set on disk: LLaVA-instruct JSON (a list, read piece by piece), JSONL, or Parquet; and its pictures."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import SourceError, UsageError
from engine.export.mix_form import MixPicture

CHUNK = 1 << 20
BATCH = 64
BLANK = re.compile(r"\s*")
BETWEEN = re.compile(r"[\s,]*")
KINDS = (".json", ".jsonl", ".parquet")


class MixSource:
    """Rows in file order. Pictures are looked for next to the file, then in each folder next to it, by name order.

    Pictures that a row holds itself (Parquet) wait on disk once they are kept, so that memory holds no picture.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).expanduser()
        self._files = self._find()
        self.name = self._path.name
        root = self._path if self._path.is_dir() else self._path.parent
        folders = (item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
        self._roots = [root, *sorted(folders)]
        self._spool = tempfile.TemporaryDirectory(prefix="ecso-mix-")

    def rows(self) -> Iterator[tuple[str, Any]]:
        """(where it stands, the row). UsageError where a file is not what its ending says."""
        for file in self._files:
            try:
                for number, row in enumerate(_READERS[file.suffix](file), 1):
                    yield f"{file.name} row {number}", row
            except UnicodeDecodeError as error:
                raise UsageError(f"--mix {file}: not UTF-8 text ({error.reason})") from error

    def picture(self, picture: MixPicture) -> bytes:
        """The encoded bytes. SourceError: not there, or a path that leaves the set's folder."""
        if picture.data is not None:
            return picture.data
        try:
            return self._where(picture.name).read_bytes()
        except (OSError, ValueError) as error:
            raise SourceError(f"picture {picture.name}: cannot be read ({error})") from error

    def kept(self, picture: MixPicture) -> MixPicture:
        """The same picture without bytes in memory."""
        if picture.data is None:
            return picture
        spooled = os.path.join(self._spool.name, f"spooled-{hashlib.sha256(picture.data).hexdigest()}")
        Path(spooled).write_bytes(picture.data)
        return MixPicture(spooled)

    def _where(self, name: str) -> Path:
        if name.startswith(self._spool.name):
            return Path(name)
        if os.path.isabs(name) or ".." in Path(name).parts:
            raise SourceError(f"picture {name}: leaves the folder of the set")
        for root in self._roots:
            if (root / name).is_file():
                return root / name
        raise SourceError(f"picture {name}: not found next to {self._path.name} or in a folder next to it")

    def _find(self) -> list[Path]:
        if self._path.is_dir():
            found = sorted(self._path.glob("*.parquet"))
            return found or self._only_json()
        if not self._path.is_file():
            raise UsageError(f"--mix {self._path}: not there")
        if self._path.suffix not in KINDS:
            raise UsageError(f"--mix {self._path}: {self._path.suffix or 'no'} ending, expected {', '.join(KINDS)}")
        return [self._path]

    def _only_json(self) -> list[Path]:
        found = sorted([*self._path.glob("*.json"), *self._path.glob("*.jsonl")])
        if len(found) != 1:
            raise UsageError(f"--mix {self._path}: {len(found)} JSON files and no Parquet there; name one file")
        return found


def _json_rows(path: Path) -> Iterator[Any]:
    """The entries of a JSON list, one in memory at a time: LLaVA-instruct has 665,000 in one file."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as file:
        text, place = file.read(CHUNK), 0
        found = BLANK.match(text)
        place = found.end() if found else 0
        if text[place : place + 1] != "[":
            raise UsageError(f"--mix {path}: found {text[place : place + 20]!r}, expected a JSON list")
        place += 1
        while True:
            found = BETWEEN.match(text, place)
            place = found.end() if found else place
            if text[place : place + 1] == "]":
                return
            try:
                row, place = decoder.raw_decode(text, place)
            except json.JSONDecodeError as error:
                text, place = text[place:], 0
                more = file.read(max(CHUNK, len(text)))
                if not more:
                    raise UsageError(f"--mix {path}: broken JSON ({error.msg}) in {text[:40]!r}") from error
                text += more
            else:
                yield row


def _json_lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise UsageError(f"--mix {path} line {number}: broken JSON ({error.msg})") from error


def _parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise UsageError(f"--mix {path}: no Parquet file ({error})") from error
    with file:
        for batch in file.iter_batches(BATCH, use_threads=False):
            yield from batch.to_pylist()


_READERS = {".json": _json_rows, ".jsonl": _json_lines, ".parquet": _parquet_rows}
