"""Vectors of queries for semantic deduplication: the annotations of an embedding judge beside the rows that passed.

The vectors go to one file of float32 on disk, in the order in which they are read, and only their ids (16 bytes) and
places (8 bytes) are held; then the items are written again with a column `embedding`, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.curation.annotations import read
from engine.curation.reading import Run
from engine.errors import UsageError
from engine.journal.index import DIGEST, Digests
from engine.judges.files import Key, digests

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 4096
FIELD = "query"
"""Deduplication compares queries; vectors of responses would not do."""


def check_vectors(runs: Sequence[Run], judge: str) -> None:
    """UsageError where a run has no vectors of this judge, or runs have them of different models."""
    keys = {run.store.url: _key(run, judge) for run in runs}
    kinds = {(key.version, key.prompt_sha256 if not key.version.startswith("file ") else "") for key in keys.values()}
    if len(kinds) > 1:
        told = "; ".join(f"{url}: {key.version}" for url, key in keys.items())
        raise UsageError(f"dedup.semantic: vectors of different models cannot be compared: {told}")


def with_vectors(items: Path, runs: Sequence[Run], judge: str, work: Path) -> Path:
    """`items` with a column `embedding` (list of float32; none where a row has no vector), in the same order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, places, vectors = _collect(runs, judge, work / "vectors.f32")
    made = work / "items-vectors.parquet"
    source = pq.ParquetFile(items)
    schema = source.schema_arrow.append(pa.field("embedding", pa.list_(pa.float32())))
    with pq.ParquetWriter(made, schema) as writer:
        for batch in source.iter_batches(BATCH):
            column = _column(batch.column("query_id"), ids, places, vectors)
            writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema))
    return made


def _key(run: Run, judge: str) -> Key:
    return read(run.store, run.manifest).find(judge, FIELD)


def _collect(
    runs: Sequence[Run], judge: str, file: Path
) -> tuple[Digests, npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(sorted ids, the place of each one's vector, the vectors as a memory map). Of an id that is there twice the first
    vector counts."""
    found: list[Digests] = [np.empty(0, DIGEST)]
    width, count = 0, 0
    with file.open("wb") as target:
        for run in runs:
            for table in read(run.store, run.manifest).embeddings(judge, FIELD):
                for batch in _filled(table).to_batches():
                    block = _block(batch.column("embedding"), width, run)
                    width = width or block.shape[1]
                    block.tofile(target)
                    found.append(digests(batch.column("query_id")))
                    count += len(block)
    ids, places = np.unique(np.concatenate(found), return_index=True)
    shape = (count, width)
    vectors = np.memmap(file, np.float32, "r", shape=shape) if count and width else np.zeros(shape, np.float32)
    return ids, places, vectors


def _filled(table: pa.Table) -> pa.Table:
    """The rows that have a vector with a number in it."""
    import pyarrow.compute as pc

    return table.filter(pc.greater(pc.fill_null(pc.list_value_length(table["embedding"]), 0), 0))


def _block(column: Any, width: int, run: Run) -> npt.NDArray[np.float32]:
    """(rows, numbers) of a column of lists that are all of one length."""
    import pyarrow.compute as pc

    sizes = np.unique(np.asarray(pc.list_value_length(column)))
    wanted = width or int(sizes[0])
    if sizes.tolist() != [wanted]:
        lengths = ", ".join(map(str, sorted({*sizes.tolist(), wanted})))
        raise UsageError(f"{run.store.url}: found vectors of {lengths} numbers in annotations, expected one length")
    return np.asarray(column.flatten(), dtype=np.float32).reshape(-1, wanted)


def _column(query_ids: Any, ids: Digests, places: npt.NDArray[np.int64], vectors: npt.NDArray[np.float32]) -> pa.Array:
    import pyarrow as pa

    wanted = digests(query_ids)
    at = np.minimum(np.searchsorted(ids, wanted), max(0, len(ids) - 1))
    there = ids[at] == wanted if len(ids) else np.zeros(len(wanted), bool)
    offsets = np.concatenate(([0], np.cumsum(np.where(there, vectors.shape[1], 0)))).astype(np.int32)
    values = pa.array(np.asarray(vectors[places[at[there]]]).reshape(-1), pa.float32())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
