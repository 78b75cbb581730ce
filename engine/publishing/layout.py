"""Shards whose row groups and ends are given, not found by size.

How large a table is in memory depends on how it was made (filtered, read, put together), so cutting by size gives other
files for the same rows. Where pictures were taken out and joined again the files must be the same: they are cut by
counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.parquet import TableWriter

if TYPE_CHECKING:
    import pyarrow as pa

    from engine.journal.store import Store

NEVER = 1 << 62


class CutWriter(TableWriter):
    """Writes every table as one row group. `layout`: rows of each row group, shard by shard."""

    def __init__(self, store: Store, prefix: str, schema: pa.Schema, *, name_prefix: str) -> None:
        super().__init__(store, prefix, schema, name_prefix=name_prefix, max_shard_bytes=NEVER)
        self.layout: list[list[int]] = []
        self._shard: int | None = None

    def __enter__(self) -> CutWriter:
        return self

    def group(self, table: pa.Table, shard: int) -> None:
        """One row group; another `shard` than before begins a new file. Tables without rows are passed over."""
        if not table.num_rows:
            return
        if shard != self._shard:
            self._finish()
            self._shard = shard
            self.layout.append([])
        self._pending, self._pending_bytes = [table], 1
        self._flush()
        self.layout[-1].append(table.num_rows)
