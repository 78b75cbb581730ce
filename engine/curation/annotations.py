"""Annotations of a run, as curate and evaluate read them: what each judge said of each row, without any model.

Memory: 21 bytes a row and judge (16 of the query id, verdict, p). Replies and vectors stay on disk; `embeddings`
streams the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from engine.errors import UsageError
from engine.journal.index import DIGEST, Digests
from engine.journal.store import Store
from engine.judges.base import Opinion
from engine.judges.files import FOLDER, Key, digests, files
from schemas import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

VERDICTS: tuple[Opinion | None, ...] = (None, "harmless", "harmful", "refused", "answered", "unknown")
HELD = ("query_id", "judge", "version", "prompt_sha256", "field", "verdict", "p")


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one judge said of one row. `verdict` None: it gives none. `p`: of `harmful` or `refused`."""

    judge: str
    version: str
    field: str
    verdict: Opinion | None
    p: float | None


@dataclass(frozen=True, slots=True)
class _Column:
    """The annotations of one key, sorted by query id."""

    ids: Digests
    verdicts: npt.NDArray[np.uint8]
    p: npt.NDArray[np.float32]


class Annotations:
    """By query id and judge. Made by `read`."""

    def __init__(self, store: Store, columns: Mapping[Key, _Column]) -> None:
        self._store = store
        self._columns = dict(columns)

    @property
    def keys(self) -> list[Key]:
        """What there is: judge, version, prompt and field, sorted."""
        return sorted(self._columns, key=lambda key: (key.judge, key.field, key.version, key.prompt_sha256))

    def get(self, query_id: str, judge: str, field: str | None = None) -> Annotation | None:
        """What `judge` said of the row, or None where it said nothing.

        `judge` is a name, or `NAME@TEXT` with a part of the version (`harm@llava-1.5-13b`) where several models or
        prompts judged. Raises UsageError where that names no annotation of this run, or more than one kind.
        """
        key = self.find(judge, field)
        column = self._columns[key]
        wanted = np.array([bytes.fromhex(query_id[:32])], DIGEST)
        at = int(np.searchsorted(column.ids, wanted)[0])
        if at == len(column.ids) or column.ids[at] != wanted[0]:
            return None
        p = float(column.p[at])
        verdict = VERDICTS[int(column.verdicts[at])]
        return Annotation(key.judge, key.version, key.field, verdict, None if np.isnan(p) else p)

    def find(self, judge: str, field: str | None = None) -> Key:
        """The one key that `judge` (and `field`) names. UsageError for none and for several, with what there is."""
        name, _, part = judge.partition("@")
        found = [key for key in self.keys if key.judge == name and part in key.version and field in (None, key.field)]
        if len(found) == 1:
            return found[0]
        there = "; ".join(f"{key.judge}@{key.version} on {key.field}" for key in self.keys) or "none"
        if not found:
            raise UsageError(
                f"{self._store.url}: no annotations of judge {judge}; there are: {there}. Make them: annotate"
            )
        raise UsageError(f"{self._store.url}: judge {judge} stands for {len(found)}: name one by NAME@VERSION; {there}")

    def embeddings(self, judge: str = "embedding", field: str | None = None) -> Iterator[pa.Table]:
        """Tables of `query_id` and `embedding`, row group by row group, in the order of the files."""
        import pyarrow.parquet as pq

        key = self.find(judge, field)
        for name in files(self._store, key.stem):
            with self._store.open(name) as file:
                table = pq.ParquetFile(file)
                for group in range(table.num_row_groups):
                    yield table.read_row_group(group, columns=["query_id", "embedding"])


def read(run: Store, manifest: Mapping[str, Any]) -> Annotations:
    """All annotations of a run; none is no error. Rows of other runs in the files are passed over by their ids.

    UsageError for a file that is no Parquet or has other columns.
    """
    del manifest  # ids are content: an annotation holds for whatever sealed run has the row
    parts: dict[Key, list[_Column]] = {}
    for name in files(run):
        for table in _tables(run, name):
            for key, column in _split(table):
                parts.setdefault(key, []).append(column)
    return Annotations(run, {key: _joined(columns) for key, columns in parts.items()})


def _tables(run: Store, name: str) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with run.open(name) as file:
            table = pq.ParquetFile(file)
            if not _is_annotation(table.schema_arrow):
                raise UsageError(f"{run.path(name)}: not the columns of annotations ({FOLDER}/ holds nothing else)")
            for group in range(table.num_row_groups):
                yield table.read_row_group(group, columns=list(HELD))
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(
            f"{run.path(name)}: no readable Parquet file ({error}); remove it, and annotate again"
        ) from error


def _is_annotation(found: pa.Schema) -> bool:
    """The columns of today, or those of before judges gave scores."""
    schema = arrow_schema("annotation")
    return bool(found.equals(schema) or found.equals(schema.remove(schema.get_field_index("score"))))


def _split(table: pa.Table) -> Iterator[tuple[Key, _Column]]:
    """A file holds one key; another writer's may hold several."""
    import pyarrow.compute as pc

    names = HELD[1:5]
    keys = table.select(list(names)).group_by(list(names)).aggregate([]).to_pylist()
    for values in keys:
        rows = table
        if len(keys) > 1:
            for name in names:
                rows = rows.filter(pc.equal(rows[name], values[name]))
        yield Key(**values), _column(rows)


def _column(rows: pa.Table) -> _Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = pc.index_in(rows["verdict"], pa.array(VERDICTS, pa.string())).to_numpy().astype(np.uint8)
    p = pc.fill_null(pc.cast(rows["p"], pa.float32()), float("nan")).to_numpy()
    return _Column(digests(rows["query_id"]), codes, p)


def _joined(columns: Sequence[_Column]) -> _Column:
    """Sorted by id; of an id that stands twice (a kill while files were put together) the first one holds."""
    ids = np.concatenate([column.ids for column in columns])
    whole, first = np.unique(ids, return_index=True)
    verdicts = np.concatenate([column.verdicts for column in columns])[first]
    p = np.concatenate([column.p for column in columns])[first]
    return _Column(cast(Digests, whole), verdicts, p)
