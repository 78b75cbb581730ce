"""Read tasks: windows of source references in, small blocks of rows with picture bytes out, ordered by picture."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from engine.errors import SourceError
from engine.sources import PictureCaps, SourceRow, bad_row_id, iter_rows, load
from engine.types import Query
from pipelines.blocks import Row, to_table, wrap

USUAL_BLOCK, LARGEST_BLOCK = 32, 256
BLOCK_BYTES = 8 << 20
"""A block travels to one actor: few rows keep many actors busy, few bytes keep the object store small."""
MOST_TASKS = 128


def block_rows(total: int, slots: int) -> int:
    """Rows of a block, so that `slots` (workers times blocks that each holds) are filled about twice over: what stands
    in one worker's queue cannot be taken over by another. Ray's driver keeps some kilobytes of every block for as long
    as the run lasts, so a run that fills its slots twenty times over gets blocks of up to 256 rows instead of 32."""
    return max(1, min(USUAL_BLOCK, total // (2 * slots)), min(LARGEST_BLOCK, total // (20 * slots)))


def bundles(windows: Sequence[Any], most: int = MOST_TASKS) -> list[pa.Table]:
    """The windows, pickled, in at most `most` tables of consecutive ones: one read task each. A task and its input
    cost the driver about 45 kB and some milliseconds before the first row, so their number must not grow with the
    rows."""
    size = -(-len(windows) // most)
    pickled = [pickle.dumps(window) for window in windows]
    return [pa.table({"window": pickled[start : start + size]}) for start in range(0, len(pickled), size)]


def read_windows(batch: pa.Table, *, done: list[Any], control: Any, caps: PictureCaps, rows: int) -> Iterator[pa.Table]:
    """Blocks of the rows that are not in the journal yet. `done` is a list with one object reference (a bare
    reference would be fetched for every task by Ray; inside a list it is fetched here, once a process)."""
    finished = ray.get(done[0])
    for pickled in batch.column("window").to_pylist():
        if ray.get(control.state.remote())[0] is not None:
            return
        window, selection = pickle.loads(pickled)
        yield from _blocks(_rows(iter_rows(window, selection), finished, caps), rows)


def _rows(references: Iterator[SourceRow], finished: Any, caps: PictureCaps) -> Iterator[Row]:
    """Rows of one window, those of one picture together (a window holds references, so sorting it is cheap)."""
    seen: set[str] = set()
    todo = [reference for reference in references if not finished.has_key(reference.key)]
    for reference in sorted(todo, key=lambda r: (tuple(p.name for p in r.pictures), r.index)):
        row = _read(reference, caps)
        duplicate = row.problem is None and (row.query.query_id in seen or finished.has_id(row.query.query_id))
        seen.add(row.query.query_id)
        yield Row(row.query, duplicate, row.problem, row.problem_type)


def _read(reference: SourceRow, caps: PictureCaps) -> Row:
    if reference.problem is None:
        try:
            return Row(load(reference, caps=caps))
        except SourceError as error:
            return _bad(reference, str(error), type(error).__name__)
    return _bad(reference, reference.problem, reference.problem_type or "SourceError")


def _bad(reference: SourceRow, problem: str, problem_type: str) -> Row:
    query = Query(
        query_id=bad_row_id(reference.source, reference.key),
        text=reference.text,
        source=reference.source,
        source_key=reference.key,
        source_index=reference.index,
        split=reference.split,
        category=reference.category,
        subcategory=reference.subcategory,
        label_safe=reference.label_safe,
        reference=reference.reference,
        extra=reference.extra,
    )
    return Row(query, False, problem, problem_type)


def _blocks(rows: Iterator[Row], most: int) -> Iterator[pa.Table]:
    block: list[Row] = []
    size = 0
    for row in rows:
        weight = sum(len(picture.data) for picture in row.query.pictures)
        if block and (len(block) >= most or size + weight > BLOCK_BYTES):
            yield wrap(to_table(block))
            block, size = [], 0
        block.append(row)
        size += weight
    if block:
        yield wrap(to_table(block))
