"""Rows as compact signatures, hash-partitioned so that rows which can be duplicates of one another stand together.

Rows are duplicates only if their pictures agree, so a row's partition follows from the groups of its pictures (see
`pictures.py`) and nothing else. About 150 bytes a row (and 4 a dimension of an embedding): no text, no picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from engine.curation.dedup.options import DedupOptions
from engine.curation.dedup.pictures import PictureTable
from engine.curation.dedup.prefix import Counts, count_shingles
from engine.curation.dedup.text import FACTOR, I64, U64, Shingles, mix, read_texts
from engine.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("rank", "text", "picture_sha256")
BATCH = 8192


class Slice(NamedTuple):
    """Some consecutive rows of one row group of a Parquet file."""

    file: str
    row_group: int
    start: int
    stop: int


class Rows(NamedTuple):
    """Signatures of rows."""

    rank: I64
    group: U64
    """Equal for rows whose pictures are, one by one, of equal groups."""
    text: U64
    """(rows, 2): the text's key."""
    picture_offsets: I64
    pictures: I64
    """Numbers in the picture table."""
    shingles: Shingles
    embedding: npt.NDArray[np.float32] | None
    """(rows, dimensions), of length one or zero (no embedding)."""

    def pictures_of(self, row: int) -> list[int]:
        found: list[int] = self.pictures[self.picture_offsets[row] : self.picture_offsets[row + 1]].tolist()
        return found


def read_slice(piece: Slice, columns: list[str], size: int = BATCH) -> Iterator[pa.RecordBatch]:
    """The rows of a slice. Raises UsageError where a column is missing."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(piece.file) as table:
        missing = {name.split(".")[0] for name in columns} - set(table.schema_arrow.names)
        if missing:
            raise UsageError(f"{piece.file}: no column {', '.join(sorted(missing))}")
        at = 0
        for batch in table.iter_batches(size, row_groups=[piece.row_group], columns=columns, use_threads=False):
            low, high = max(piece.start - at, 0), min(piece.stop - at, len(batch))
            if low < high:
                yield batch.slice(low, high - low)
            at += len(batch)
            if at >= piece.stop:
                return


def sign_rows(
    pieces: list[Slice], options: DedupOptions, table: PictureTable, groups: I64, partitions: int, target: Path
) -> None:
    """Write the signatures of some slices: TARGET.rows, an Arrow file with one record batch a partition, and
    TARGET.counts, how often its shingles occur."""
    import pyarrow as pa

    columns = [*COLUMNS, *(["embedding"] if options.semantic is not None else [])]
    batches = [
        _sign(batch, options, table, groups) for piece in pieces for batch in read_slice(piece, columns) if len(batch)
    ]
    whole = pa.Table.from_batches(batches).combine_chunks()
    values = whole.column("shingles").combine_chunks()
    counts = count_shingles(Shingles(np.asarray(values.flatten()), _offsets(values)))
    counts.tofile(target.with_suffix(".counts"))
    partition = (np.asarray(whole.column("group")) >> np.uint64(32)) % np.uint64(partitions)
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(partitions + 1, dtype=np.uint64))
    with pa.OSFile(str(target.with_suffix(".rows")), "wb") as sink, pa.ipc.new_file(sink, whole.schema) as writer:
        for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            part = whole.take(pa.array(order[low:high])).combine_chunks()
            writer.write_batch(part.to_batches()[0] if high > low else pa.RecordBatch.from_pylist([], whole.schema))


def _sign(batch: pa.RecordBatch, options: DedupOptions, table: PictureTable, groups: I64) -> pa.RecordBatch:
    import pyarrow as pa

    keys, sets = read_texts(batch.column("text").to_pylist(), options.shingle)
    lists = batch.column("picture_sha256")
    offsets = _offsets(lists)
    digests = lists.flatten().dictionary_encode()
    pictures = table.numbers(digests.dictionary.to_pylist())[np.asarray(digests.indices)]
    made = {
        "rank": batch.column("rank").cast(pa.int64()),
        "group": pa.array(list_keys(group_names(pictures, groups), offsets)),
        "text_low": pa.array(keys[:, 0]),
        "text_high": pa.array(keys[:, 1]),
        "pictures": pa.LargeListArray.from_arrays(offsets, pa.array(pictures, pa.int64())),
        "shingles": pa.LargeListArray.from_arrays(sets.offsets, pa.array(sets.values)),
    }
    if options.semantic is not None:
        made["embedding"] = batch.column("embedding").cast(pa.large_list(pa.float32()))
    return pa.RecordBatch.from_pydict(made)


def _offsets(lists: pa.Array) -> I64:
    """From zero on, whatever slice of a bigger column this is; a missing list is empty."""
    import pyarrow.compute as pc

    sizes = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    return np.concatenate(([0], np.cumsum(sizes)))


def group_names(pictures: I64, groups: I64) -> I64:
    """The group of each picture; a picture that the table lacks (negative) is a group of its own."""
    if not len(groups):
        return pictures
    return np.where(pictures >= 0, groups[np.maximum(pictures, 0)], pictures)


def list_keys(names: I64, offsets: I64) -> U64:
    """A hash a row over its list of names, in order."""
    sizes = np.diff(offsets)
    keys = mix(sizes.astype(np.uint64) + np.uint64(1))
    for place in range(int(sizes.max(initial=0))):
        rows = np.flatnonzero(sizes > place)
        keys[rows] = mix(keys[rows] * np.uint64(FACTOR) + names[offsets[rows] + place].astype(np.uint64))
    return keys


def load_partition(files: list[Path], partition: int, *, semantic: bool) -> Rows:
    """One partition out of all files, rows in the order of their rank."""
    import pyarrow as pa

    batches = []
    for file in files:
        with pa.memory_map(str(file)) as source:
            batch = pa.ipc.open_file(source).get_batch(partition)
            if len(batch):
                batches.append(batch)
    if not batches:
        return _empty()
    whole = pa.Table.from_batches(batches)
    whole = whole.take(pa.array(np.argsort(np.asarray(whole.column("rank")), kind="stable"))).combine_chunks()
    pictures, values = (whole.column(name).combine_chunks() for name in ("pictures", "shingles"))
    text = np.stack([np.asarray(whole.column("text_low")), np.asarray(whole.column("text_high"))], axis=1)
    return Rows(
        rank=np.asarray(whole.column("rank")),
        group=np.asarray(whole.column("group")),
        text=text,
        picture_offsets=_offsets(pictures),
        pictures=np.asarray(pictures.flatten()),
        shingles=Shingles(np.asarray(values.flatten()), _offsets(values)),
        embedding=_embeddings(whole.column("embedding").combine_chunks()) if semantic else None,
    )


def _embeddings(column: pa.Array) -> npt.NDArray[np.float32]:
    offsets = _offsets(column)
    sizes = np.diff(offsets)
    found = np.unique(sizes[sizes > 0])
    if len(found) > 1:
        sizes_found = ", ".join(map(str, found.tolist()))
        raise UsageError(f"embedding: found vectors of {sizes_found} numbers, expected one length")
    table = np.zeros((len(sizes), int(found[0]) if len(found) else 1), np.float32)
    values = np.asarray(column.flatten(), dtype=np.float32)
    if len(found):
        table[sizes > 0] = values.reshape(-1, table.shape[1])
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    divided: npt.NDArray[np.float32] = np.divide(table, lengths, out=table, where=lengths > 0)
    return divided


def _empty() -> Rows:
    none, hashes = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    zero = np.zeros(1, np.int64)
    return Rows(none, hashes, hashes.reshape(0, 2), zero, none, Shingles(hashes, zero), None)


def sum_counts(files: list[Path], target: Path) -> None:
    """The counts of all parts as one file."""
    total: Counts | None = None
    for file in files:
        counts = np.fromfile(file, np.uint32)
        total = counts if total is None else total + counts
    assert total is not None
    total.tofile(target)
