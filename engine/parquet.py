"""Parquet as the Hugging Face viewer and `datasets` like it, written through a store, in shards that appear whole.

Picture bytes stay uncompressed and PLAIN (they are compressed already), other leaves are snappy with a dictionary; page
index and content-defined chunking are on; row groups stay under 100 MB of uncompressed data, shards under 500 MB.
A shard's name ends in its own checksum: sealing again gives new names, and the same rows give the same name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import OutputError
from engine.journal.local import FULL, TEMPORARY, write_failed
from schemas import arrow_schema, load

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.journal.store import Store

MAX_SHARD_BYTES = 500_000_000
MAX_ROW_GROUP_BYTES = 100_000_000
ROW_GROUP_BYTES = 64_000_000
"""Well under the limit, since a row group is held in memory until it is written."""
CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
SHOWN = 80


class Shard(NamedTuple):
    """One written file, as the manifest lists it."""

    path: str
    rows: int
    sha256: str

    def entry(self) -> dict[str, Any]:
        return self._asdict()


def write_options(schema: pa.Schema) -> dict[str, Any]:
    """The options of `pyarrow.parquet.ParquetWriter` (and of Ray's write_parquet) for this schema."""
    leaves = [leaf for item in schema for leaf in _leaves(item.name, item.type)]
    return {
        "compression": {path: "none" if binary else "snappy" for path, binary in leaves},
        "use_dictionary": [path for path, binary in leaves if not binary],
        "column_encoding": {path: "PLAIN" for path, binary in leaves if binary},
        "write_page_index": True,
        "use_content_defined_chunking": CHUNKING,
    }


def _leaves(path: str, kind: pa.DataType) -> list[tuple[str, bool]]:
    """(leaf path, whether it is a picture's struct or plain bytes). A picture's path leaf goes with its bytes."""
    import pyarrow.types as types

    if types.is_struct(kind):
        picture = [field.name for field in kind] == ["bytes", "path"] and types.is_binary(kind.field("bytes").type)
        inner = [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
        return [(leaf, binary or picture) for leaf, binary in inner]
    if types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [(path, types.is_binary(kind))]


class TableWriter:
    """Writes one table as rolling shards `<prefix>/<name_prefix><number>-<checksum>.parquet`.

    `close` gives the shards; a table without rows is one file without rows, so that Arrow opens it with its schema
    (`datasets` refuses to load a split without rows, file or not).
    Nothing is visible under its final name before it is whole. As a context manager it closes, or on an error drops the
    unfinished shard (finished ones are left to the caller: no manifest names them).
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        schema: str | pa.Schema,
        *,
        name_prefix: str = "",
        max_shard_bytes: int = MAX_SHARD_BYTES,
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> None:
        self._name = schema if isinstance(schema, str) else None
        self._schema = arrow_schema(schema) if isinstance(schema, str) else schema
        self._store = store
        self._prefix = prefix
        self._name_prefix = name_prefix
        self._max_shard_bytes = max_shard_bytes
        self._row_group_bytes = min(row_group_bytes, MAX_ROW_GROUP_BYTES)
        self._options = write_options(self._schema)
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._open: _OpenShard | None = None
        self._shards: list[Shard] = []

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @property
    def shards(self) -> list[Shard]:
        """The shards finished so far; all of them after `close`."""
        return list(self._shards)

    def write(self, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Add a table, or rows as dicts where the schema was given by name."""
        if not hasattr(rows, "nbytes"):
            rows = rows_to_table(rows, self._name or self._schema)
        for piece in _pieces(rows, self._row_group_bytes):
            if self._pending_bytes and self._pending_bytes + piece.nbytes > self._row_group_bytes:
                self._flush()
            self._pending.append(piece)
            self._pending_bytes += piece.nbytes

    def close(self) -> list[Shard]:
        """Finish the last shard; the shards in order."""
        self._flush()
        if self._open is None and not self._shards:
            self._open = self._start()
        self._finish()
        return self.shards

    def abort(self) -> None:
        """Drop what is unfinished."""
        self._pending, self._pending_bytes = [], 0
        if self._open is not None:
            self._open.drop()
            self._open = None

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._pending_bytes and not any(table.num_rows for table in self._pending):
            self._pending = []
            return
        if self._open is not None and self._open.size + self._pending_bytes > self._max_shard_bytes:
            self._finish()
        if self._open is None:
            self._open = self._start()
        table = pa.concat_tables(self._pending).combine_chunks()
        self._pending, self._pending_bytes = [], 0
        self._open.add(table)

    def _start(self) -> _OpenShard:
        return _OpenShard(self._store.spool_dir(self._prefix), self._schema, self._options)

    def _finish(self) -> None:
        if self._open is None:
            return
        shard, self._open = self._open, None
        checksum = shard.finish()
        name = f"{self._prefix}/{self._name_prefix}{len(self._shards):05d}-{checksum[:12]}.parquet"
        try:
            self._store.upload(shard.path, name)
        finally:
            shard.remove()
        self._shards.append(Shard(name, shard.rows, checksum))


class _OpenShard:
    """The one file being written: in the output folder locally, in a temp dir for an object store."""

    def __init__(self, folder: str | None, schema: pa.Schema, options: Mapping[str, Any]) -> None:
        import pyarrow.parquet as pq

        self._temp_dir = None if folder else tempfile.mkdtemp(prefix="ecso-shard-")
        self.path = os.path.join(folder or self._temp_dir or "", f".shard-{secrets.token_hex(6)}{TEMPORARY}")
        self.rows = 0
        self.size = 0
        with self._failures():
            self._writer = pq.ParquetWriter(self.path, schema, **options)

    def add(self, table: pa.Table) -> None:
        with self._failures():
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self.rows += table.num_rows
        self.size += table.nbytes

    def finish(self) -> str:
        """Close the file, count its rows again from its own footer, and give its sha256."""
        import pyarrow.parquet as pq

        with self._failures():
            self._writer.close()
            found = pq.read_metadata(self.path).num_rows
            with open(self.path, "rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.rows:
            self.remove()
            raise OutputError(f"{self.path}: {self.rows} rows were written, {found} can be read back")
        return checksum

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()
        self.remove()

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        if self._temp_dir:
            shutil.rmtree(self._temp_dir, ignore_errors=True)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.remove()
            raise _write_failed(self.path, error) from error


def _write_failed(path: str, error: OSError) -> OutputError:
    """Arrow raises OSErrors without an errno, with the number in the text: '[errno 28] No space left on device'."""
    if error.errno is None:
        number = next((code for code in FULL if f"errno {code}]" in str(error)), 0)
        error = OSError(number, os.strerror(number) if number else str(error))
    return write_failed(path, error)


def _pieces(table: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Halves until each fits: pictures differ so much in size that a row count says nothing."""
    if table.nbytes <= limit or table.num_rows <= 1:
        yield table
        return
    middle = table.num_rows // 2
    yield from _pieces(table.slice(0, middle), limit)
    yield from _pieces(table.slice(middle), limit)


def rows_to_table(rows: Sequence[Mapping[str, Any]], schema: str | pa.Schema) -> pa.Table:
    """Rows as a table of the pinned schema. OutputError names the row, the field, what was found and expected."""
    import pyarrow as pa

    name = schema if isinstance(schema, str) else ""
    pinned = arrow_schema(schema) if isinstance(schema, str) else schema
    expected = set(pinned.names)
    for index, row in enumerate(rows):
        if row.keys() != expected:
            raise OutputError(f"{_label(row, index)}: {_key_difference(set(row), expected)}")
    try:
        table = pa.Table.from_pylist(list(rows), schema=pinned)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _culprit(rows, pinned, error) from error
    if name:
        _refuse_nulls(rows, table, name)
    return table


def _key_difference(found: set[str], expected: set[str]) -> str:
    missing, unknown = sorted(expected - found), sorted(found - expected)
    parts = [f"missing {', '.join(missing)}"] if missing else []
    return "; ".join([*parts, f"unknown {', '.join(unknown)}"] if unknown else parts)


def _label(row: Mapping[str, Any], index: int) -> str:
    for name in ("query_id", "picture_sha256", "id"):
        if row.get(name):
            return f"row {row[name]}"
    return f"row number {index}"


def _culprit(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, error: Exception) -> OutputError:
    """The first value that Arrow refuses, found by trying each alone (only ever run on a failure)."""
    for index, row in enumerate(rows):
        for item in schema:
            reason = _refusal(row[item.name], item.type)
            if reason:
                return OutputError(f"{_label(row, index)}: {item.name}{reason}")
    return OutputError(f"rows do not fit the schema: {error}")


def _refusal(value: object, kind: pa.DataType) -> str:
    """'' where Arrow takes the value, else where inside it the trouble is, what was found and what was expected."""
    import pyarrow as pa
    import pyarrow.types as types

    try:
        pa.array([value], type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        pass
    else:
        return ""
    inner: Iterator[tuple[str, str]] = iter(())
    if types.is_list(kind) and isinstance(value, list | tuple):
        inner = ((f"[{index}]", _refusal(item, kind.value_type)) for index, item in enumerate(value))
    elif types.is_struct(kind) and isinstance(value, Mapping):
        inner = ((f".{field.name}", _refusal(value.get(field.name), field.type)) for field in kind)
    for where, reason in inner:
        if reason:
            return where + reason
    return f": found {type(value).__name__} {str(value)[:SHOWN]!r}, expected {kind}"


def _refuse_nulls(rows: Sequence[Mapping[str, Any]], table: pa.Table, name: str) -> None:
    """Arrow takes None everywhere; the JSON Schema says where it may stand."""
    for key, sub in load(name)["properties"].items():
        kinds = sub.get("type", "object")
        if "null" in kinds or not table[key].null_count:
            continue
        index = next(index for index, row in enumerate(rows) if row[key] is None)
        raise OutputError(f"{_label(rows[index], index)}: {key}: found null, expected {kinds}")
