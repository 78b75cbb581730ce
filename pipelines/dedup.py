"""The dataflow of deduplication. Ray Data carries jobs (a few file names) to tasks and short receipts back; what tasks
make goes to files under `work`, so that the object store holds nothing that grows with the data.

    pictures   Parquet -> hashes                   a job a few thousand pictures
    bands      hashes  -> near pairs               a job a band: pairs that agree in it (Groups joined here, ids only)
    rows       Parquet -> signatures, partitioned  a job some 50,000 rows
    greedy     a partition -> its duplicates       a job about 100,000 rows

Each stage is a function of the one before, and its result does not depend on how the jobs were cut: hashes are of one
picture, groups are sets, a group of rows is in one partition whatever their number, and rows go by rank. `work` must be
a folder that every node sees.
"""

from __future__ import annotations

import heapq
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.curation.dedup.greedy import find
from engine.curation.dedup.options import KINDS, DedupOptions, Duplicate
from engine.curation.dedup.pictures import BANDS, PictureTable, build_index, hash_part, write_groups
from engine.curation.dedup.rows import Slice, load_partition, read_slice, sign_rows, sum_counts
from engine.errors import EcsoError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_JOB = 50_000
ROWS_A_PARTITION = 100_000
PICTURES_A_JOB = 2_000
INLINE_ROWS = 20_000
"""Rows (a picture counts as ten) up to which all is done in this process: Ray's start would take longer."""
FOUND = np.dtype([("rank", "<i8"), ("kept", "<i8"), ("kind", "u1"), ("similarity", "<f8"), ("distance", "<i4")])

Job = tuple[Any, ...]
Each = Callable[[Callable[..., Any], Iterable[Job]], Iterator[Any]]
"""Run a function over jobs, in any order, and give what it returns."""


def find_duplicates(
    items: Sequence[str],
    pictures: Sequence[str],
    options: DedupOptions,
    workers: int,
    work: Path,
    inline_rows: int = INLINE_ROWS,
) -> Iterator[Duplicate]:
    """All rows of `items` that repeat a kept row, in the order of their rank.

    `items`: Parquet with `rank` (int64, unique), `text`, `picture_sha256` (list) and, where `options.semantic` is set,
    `embedding` (list of float32). `pictures`: Parquet of schemas/picture.json; a picture that is not in them is equal
    to itself only. Files that this leaves under `work`: the table of picture hashes (`picture_table` opens it).
    Raises UsageError for missing columns or unreadable Parquet. The work is done before this returns.
    """
    row_slices, picture_slices = _slices(items, ROWS_A_JOB), _slices(pictures, PICTURES_A_JOB)
    size = _size(row_slices) + 10 * _size(picture_slices)
    (work / "pictures").mkdir(parents=True, exist_ok=True)
    (work / "rows").mkdir(exist_ok=True)
    with ExitStack() as stack:
        each = _inline if size <= inline_rows else _on_ray(stack, workers, work)
        groups = _group_pictures(each, picture_slices, options, work / "pictures")
        flow = Flow(options, work, groups, max(1, ceil(_size(row_slices) / ROWS_A_PARTITION)))
        found = flow.run(each, row_slices)
    return _merged(found)


def picture_table(work: Path, options: DedupOptions) -> PictureTable:
    """The hashes of all pictures of a finished `find_duplicates` (for the leakage gate: `table.get(sha256)`)."""
    return PictureTable(work / "pictures", options.picture_radius)


def hash_pictures(pictures: Sequence[str], options: DedupOptions, workers: int, work: Path) -> PictureTable:
    """Only the table of picture hashes, without a comparison."""
    slices = _slices(pictures, PICTURES_A_JOB)
    (work / "pictures").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        each = _inline if 10 * _size(slices) <= INLINE_ROWS else _on_ray(stack, workers, work)
        _hash(each, slices, work / "pictures")
    return picture_table(work, options)


def _slices(files: Sequence[str], rows: int) -> list[list[Slice]]:
    """Jobs of about `rows` rows: small row groups together, large ones cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    jobs: list[list[Slice]] = [[]]
    for file in files:
        try:
            metadata = pq.read_metadata(file)
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{file}: no readable Parquet file ({error})") from error
        for group in range(metadata.num_row_groups):
            total = metadata.row_group(group).num_rows
            for start in range(0, total, rows):
                piece = Slice(file, group, start, min(start + rows, total))
                if jobs[-1] and _size([[*jobs[-1], piece]]) > rows:
                    jobs.append([])
                jobs[-1].append(piece)
    return [job for job in jobs if job]


def _size(jobs: list[list[Slice]]) -> int:
    return sum(piece.stop - piece.start for job in jobs for piece in job)


def _hash(each: Each, slices: list[list[Slice]], folder: Path) -> int:
    for _ in each(_hash_job, [(folder, part, pieces) for part, pieces in enumerate(slices)]):
        pass
    return build_index(folder, len(slices))


def _hash_job(folder: Path, part: int, pieces: list[Slice]) -> int:
    return hash_part(folder, part, (pair for piece in pieces for pair in _encoded(piece)))


def _encoded(piece: Slice) -> Iterator[tuple[str, bytes]]:
    for batch in read_slice(piece, ["picture_sha256", "image.bytes"], 64):
        images = batch.column("image").field("bytes")
        yield from zip(batch.column("picture_sha256").to_pylist(), map(_bytes, images), strict=True)


def _bytes(value: Any) -> bytes:
    return value.as_py() or b""


def _group_pictures(each: Each, slices: list[list[Slice]], options: DedupOptions, folder: Path) -> Path:
    """Hash all pictures, then write which of them may be near one another. Returns the file of the groups."""
    count = _hash(each, slices, folder)
    bands = BANDS if options.pictures and count > 1 else 0
    pairs = each(_band_job, [(folder, options.picture_radius, band) for band in range(bands)])
    write_groups(folder, count, (pair for found in pairs for pair in found))
    return folder / "groups.npy"


def _band_job(folder: Path, radius: int, band: int) -> list[tuple[int, int]]:
    return list(PictureTable(folder, radius).near_pairs(band))


@dataclass(frozen=True)
class Flow:
    """From rows to duplicates, once the pictures are grouped."""

    options: DedupOptions
    work: Path
    groups: Path
    partitions: int

    def run(self, each: Each, slices: list[list[Slice]]) -> list[Path]:
        """The files of duplicates, one a partition, each in the order of rank."""
        files = [self.work / "rows" / f"{number:05}.rows" for number in range(len(slices))]
        for _ in each(self.sign, list(zip(slices, files, strict=True))):
            pass
        if not files:
            return []
        counts = self.work / "rows" / "all.counts"
        sum_counts([file.with_suffix(".counts") for file in files], counts)
        found = list(each(partial(self.search, files, counts), [(number,) for number in range(self.partitions)]))
        for file in files:
            file.unlink()
            file.with_suffix(".counts").unlink()
        return found

    def sign(self, pieces: list[Slice], file: Path) -> None:
        """One job of the stage `rows`."""
        groups = np.load(self.groups, mmap_mode="r")
        sign_rows(pieces, self.options, self.table(), groups, self.partitions, file)

    def search(self, files: list[Path], counts: Path, partition: int) -> Path:
        """One job of the stage `greedy`."""
        rows = load_partition(files, partition, semantic=self.options.semantic is not None)
        frequencies = np.memmap(counts, np.uint32, mode="r")
        found = find(rows, self.table(), frequencies, self.options)
        target = self.work / "rows" / f"{partition:05}.found"
        packed = [(d.rank, d.kept_rank, KINDS.index(d.kind), d.similarity, d.distance) for d in found]
        np.array(packed, FOUND).tofile(target)
        return target

    def table(self) -> PictureTable:
        return PictureTable(self.work / "pictures", self.options.picture_radius)


def _merged(files: list[Path]) -> Iterator[Duplicate]:
    """The sorted files as one sorted stream."""
    yield from heapq.merge(*map(_stored, files))
    for file in files:
        file.unlink(missing_ok=True)


def _stored(file: Path) -> Iterator[Duplicate]:
    with file.open("rb") as source:
        while block := source.read(FOUND.itemsize * 4096):
            for rank, kept, kind, similarity, distance in np.frombuffer(block, FOUND).tolist():
                yield Duplicate(rank, kept, KINDS[kind], similarity, distance)


def _inline(function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Any]:
    for job in jobs:
        yield function(*job)


def _on_ray(stack: ExitStack, workers: int, work: Path) -> Each:
    """Join or start Ray until the stack closes."""
    from pipelines import cluster

    stack.enter_context(cluster.joined(slots=workers, logs=str(work / "logs")))
    cluster.configure(workers=workers)
    return partial(_mapped, workers)


def _mapped(workers: int, function: Callable[..., Any], jobs: Iterable[Job]) -> Iterator[Any]:
    """Jobs through Ray Data. An error of ours in a task comes back as a value: Ray would wrap it in one of its own."""
    import pyarrow as pa
    import ray
    from ray.data import TaskPoolStrategy

    blocks = [pa.table({"job": [pickle.dumps(job)]}) for job in jobs]
    if not blocks:
        return
    receipts = ray.data.from_blocks(blocks).map_batches(
        _run_jobs,
        batch_size=None,
        batch_format="pyarrow",
        compute=TaskPoolStrategy(size=min(workers, len(blocks))),
        fn_kwargs={"function": function},
    )
    for batch in receipts.iter_batches(batch_size=None, batch_format="pyarrow"):
        for value in map(pickle.loads, batch.column("value").to_pylist()):
            if isinstance(value, EcsoError):
                raise value
            yield value


def _run_jobs(batch: pa.Table, *, function: Callable[..., Any]) -> pa.Table:
    import pyarrow as pa

    values: list[Any] = []
    for job in map(pickle.loads, batch.column("job").to_pylist()):
        try:
            values.append(function(*job))
        except EcsoError as error:
            values.append(error)
    return pa.table({"value": pa.array(map(pickle.dumps, values), pa.large_binary())})
