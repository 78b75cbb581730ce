"""The files of annotations in a run's folder, and the rows that a judge is to see.

While a judge works, each window of rows becomes one part, written whole by whichever worker judged it; at the end the
parts are put together in the order of the transcripts. So a kill loses the windows in flight, a second call judges
what is missing, and the result does not depend on the number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.journal.index import DIGEST, Digests, Done, no_digests
from engine.journal.store import Store
from engine.parquet import Shard, TableWriter, rows_to_table, write_options
from engine.types import Query

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "annotations"
WINDOW_ROWS = 512
"""Rows of a part: what a kill loses at most for each window in flight, and few enough files for a million rows."""
FACTS = ("category", "subcategory", "label_safe", "reference", "extra")
PART_COLUMNS = ("query_id", "query", "picture_sha256", *FACTS)
"""A judge may need what the source says of a row: its category chooses a prompt, its further columns hold the truth."""


@dataclass(frozen=True, slots=True)
class Key:
    """All that can change what a judge says of a row; annotations of one key belong together."""

    judge: str
    version: str
    prompt_sha256: str
    field: str

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        text = "\0".join(asdict(self).values())
        return f"{FOLDER}/{self.judge}-{hashlib.sha256(text.encode()).hexdigest()[:12]}-"


@dataclass(frozen=True, slots=True)
class Window:
    """Rows `first` to `first + count` of one transcripts file."""

    number: int
    path: str
    first: int
    count: int


def files(store: Store, stem: str = "") -> list[str]:
    """Annotation files (whole ones), sorted."""
    return [name for name in store.list(FOLDER) if name.startswith(stem) and name.endswith(".parquet")]


def done(store: Store, key: Key) -> Done:
    """The query ids that have an annotation of this key: 16 bytes a row."""
    return Done(ids=query_ids(store, files(store, key.stem)))


def run_ids(store: Store, manifest: Mapping[str, Any]) -> Digests:
    """The query ids of a run, sorted: 16 bytes a row."""
    return query_ids(store, _transcripts(manifest))


def query_ids(store: Store, paths: Sequence[str]) -> Digests:
    """The distinct query ids of some tables, sorted."""
    import pyarrow.parquet as pq

    found = [no_digests()]
    for path in paths:
        with store.open(path) as file:
            table = pq.ParquetFile(file)
            groups = range(table.num_row_groups)
            found += [digests(table.read_row_group(group, columns=["query_id"]).column(0)) for group in groups]
    return np.unique(np.concatenate(found))


def digests(hexadecimals: pa.ChunkedArray | pa.Array) -> Digests:
    """The first 16 bytes of each id (64 hex digits)."""
    import pyarrow.compute as pc

    text = "".join(pc.utf8_slice_codeunits(hexadecimals, 0, 32).to_pylist())
    return np.frombuffer(bytes.fromhex(text), DIGEST)


def plan(store: Store, manifest: Mapping[str, Any], field: str, finished: Done) -> tuple[list[Window], int, int]:
    """(windows with rows to judge, those rows, rows that have something to judge)."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    windows: list[Window] = []
    number = todo = eligible = 0
    for path in _transcripts(manifest):
        with store.open(path) as file:
            table = pq.ParquetFile(file)
            wanted = [np.zeros(0, bool)]
            for group in range(table.num_row_groups):
                columns = table.read_row_group(group, columns=list(dict.fromkeys(["query_id", field])))
                has_text = pc.fill_null(pc.greater(pc.utf8_length(columns[field]), 0), False).to_numpy()
                eligible += int(has_text.sum())
                wanted.append(has_text & ~_contains(finished.ids, digests(columns["query_id"])))
        missing = np.concatenate(wanted)
        for first in range(0, len(missing), WINDOW_ROWS):
            rows = int(missing[first : first + WINDOW_ROWS].sum())
            if rows:
                windows.append(Window(number, path, first, min(WINDOW_ROWS, len(missing) - first)))
            todo, number = todo + rows, number + 1
    return windows, todo, eligible


def _transcripts(manifest: Mapping[str, Any]) -> list[str]:
    return [file["path"] for file in manifest["files"] if file["path"].startswith("transcripts/")]


def _contains(sorted_ids: Digests, wanted: Digests) -> npt.NDArray[np.bool_]:
    if not len(sorted_ids):
        return np.zeros(len(wanted), bool)
    at = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    return np.asarray(sorted_ids[at] == wanted)


def read_window(store: Store, window: Window, field: str, finished: Done) -> list[tuple[Query, str, list[str]]]:
    """(query without its pictures, text to judge, their sha256) of the window's rows that are to be judged."""
    columns = list(dict.fromkeys([*PART_COLUMNS, field]))
    rows = [row for table in _slices(store, window, columns) for row in table.to_pylist()]
    known = finished.has_ids([row["query_id"] for row in rows])
    return [
        (_query(row), row[field], row["picture_sha256"])
        for row, is_known in zip(rows, known, strict=True)
        if row[field] and not is_known
    ]


def _query(row: Mapping[str, Any]) -> Query:
    return Query(row["query_id"], row["query"], **{name: row[name] for name in FACTS})


def _slices(store: Store, window: Window, columns: Sequence[str]) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    with store.open(window.path) as file:
        table = pq.ParquetFile(file)
        start = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            low, high = max(window.first, start), min(window.first + window.count, start + rows)
            if low < high:
                yield table.read_row_group(group, columns=list(columns)).slice(low - start, high - low)
            start += rows


def write_part(store: Store, key: Key, window: Window, rows: Sequence[Mapping[str, Any]]) -> None:
    """One window's annotations, whole or not at all; a window that is judged once more for rows that were missing gets
    another part."""
    import pyarrow.parquet as pq

    table = rows_to_table([{**asdict(key), **row} for row in rows], "annotation")
    buffer = BytesIO()
    pq.write_table(table, buffer, **write_options(table.schema))
    data = buffer.getvalue()
    store.write(f"{key.stem}part-{window.number:07d}-{hashlib.sha256(data).hexdigest()[:8]}.parquet", data)


def gather(store: Store, key: Key) -> list[Shard]:
    """Put the parts together in the order of the transcripts, and remove them. A kill in between leaves rows twice,
    which readers pass over."""
    import pyarrow.parquet as pq

    parts = files(store, f"{key.stem}part-")
    if not parts:
        return []
    from schemas import arrow_schema

    name = key.stem.rpartition("/")[2]
    before = len(files(store, key.stem)) - len(parts)
    with TableWriter(store, FOLDER, arrow_schema("annotation"), name_prefix=f"{name}{before:03d}-") as writer:
        for part in parts:
            with store.open(part) as file:
                writer.write(pq.read_table(file, schema=arrow_schema("annotation")))
        shards = writer.close()
    for part in parts:
        store.remove(part)
    return shards


def remove(store: Store, key: Key) -> None:
    """Forget all annotations of this key."""
    for name in files(store, key.stem):
        store.remove(name)
