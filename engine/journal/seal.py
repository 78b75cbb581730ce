"""Seal a run: journal in, Parquet tables and manifest.json out, each query id exactly once.

Two passes. The first reads the heads of all records (65 bytes a row in memory) and plans; the second reads the planned
records in the order of the source and writes shards under new names. The manifest is swapped last, and only then are
the old shards removed: killed at any point, the output is the old sealed state or the new one, and sealing again
heals. `seal_in_process` does it in a process of its own, so that a driver's memory stays flat.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from engine.errors import EcsoError, OutputError
from engine.journal.bodies import Bodies, local_journal
from engine.journal.convert import picture_row, transcripts_table
from engine.journal.index import DIGEST, Records, read_records
from engine.journal.local import TEMPORARY
from engine.journal.manifest import MANIFEST, read_manifest, verify, write_manifest
from engine.journal.plan import Plan, make_plan
from engine.journal.segments import PICTURES
from engine.journal.store import Store
from engine.parquet import Shard, TableWriter
from engine.types import Picture
from engine.version import SCHEMA_VERSION, version

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RunInfo", "read_manifest", "seal", "seal_in_process", "verify"]

TABLES = ("transcripts", "pictures")
BATCH_ROWS = 512
"""Small batches keep Arrow's JSON reader in the cache: 14 us a row at 100 to 1,000 rows, 31 at 5,000."""
BATCH_BYTES = 16 << 20


@dataclass(frozen=True)
class RunInfo:
    """What the manifest says of the run. `expected`: source rows planned; None where that is not known."""

    run_id: str
    fingerprint: str
    fingerprint_fields: Mapping[str, Any]
    config: Mapping[str, Any]
    models: Sequence[Mapping[str, Any]]
    scripted: bool
    started_at: str
    stats: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None


def seal(url: str, *, run: RunInfo, complete: bool | None = None) -> dict[str, Any]:
    """Write the sealed tables and swap the manifest, which is returned. Hold the run lock.

    `complete`: None decides by the numbers (transcripts + duplicates == run.expected), False says partial whatever they
    are, True raises OutputError where the numbers contradict it (with expected=None there is nothing to contradict: a
    run that had a target instead of a row count). OutputError also for a failed write, and for a kept
    transcript whose picture no segment holds.
    """
    store = Store(url)
    try:
        with local_journal(store) as journal:
            tables = _write_tables(store, journal)
        document = _manifest(run, tables, complete)
        write_manifest(store, document)
    except BaseException:
        with suppress(EcsoError, OSError):
            _sweep(store, read_manifest(url))
        raise
    _sweep(store, document)
    return document


def seal_in_process(
    url: str, *, run: RunInfo, complete: bool | None = None, timeout_s: float | None = None
) -> dict[str, Any]:
    """`seal` in a fresh process; its errors are raised here as themselves. The process ends with this one."""
    from engine.journal.child import call

    return call(url, run, complete, timeout_s)


@dataclass
class _Tables:
    """What was written, and what it counts up to."""

    shards: list[Shard] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    pictures: int = 0
    journal: dict[str, int] = field(default_factory=dict)

    @property
    def transcripts(self) -> int:
        return self.statuses.total()


def _write_tables(store: Store, journal: Store) -> _Tables:
    records = read_records(journal)
    plan = make_plan(records.array)
    tables = _Tables(
        duplicates=len(plan.extra_rows),
        journal={
            "segments": len(records.segments),
            "records": len(records.array),
            "superseded": plan.superseded,
            "damaged_bytes": records.damage.size,
        },
    )
    wanted = _write_transcripts(store, journal, records, plan, tables)
    _write_pictures(store, journal, wanted, tables)
    return tables


# --- transcripts ---------------------------------------------------------------------------------------------------


def _write_transcripts(
    store: Store, journal: Store, records: Records, plan: Plan, tables: _Tables
) -> npt.NDArray[np.bytes_]:
    """Write the table; the digests of the pictures it refers to, each once, in the order of first use."""
    wanted: list[npt.NDArray[np.bytes_]] = []
    with Bodies(journal, records) as bodies, TableWriter(store, "transcripts", "transcript") as writer:
        for start, stop in _batches(records.array["length"][plan.rows]):
            lines = [bodies.body(index) for index in plan.rows[start:stop]]
            table = transcripts_table(lines)
            _check_batch(table, records.array["digest"][plan.rows[start:stop]])
            table = _with_duplicates(table, _duplicates(bodies, plan, start, stop))
            writer.write(table)
            tables.statuses.update(table["status"].to_pylist())
            tables.errors.update(kind for kind in table["error_type"].drop_null().to_pylist())
            wanted.append(_digests(table["picture_sha256"].combine_chunks().flatten().to_pylist()))
    tables.shards += writer.shards
    written = sum(shard.rows for shard in writer.shards)
    if written != len(plan.rows):
        raise OutputError(f"sealing: {len(plan.rows)} ids went in, {written} rows came out")
    return _distinct(wanted)


def _batches(lengths: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
    """(start, stop) of batches of at most BATCH_ROWS rows and, single rows apart, BATCH_BYTES."""
    start = size = 0
    for index, length in enumerate(lengths.tolist()):
        if index > start and (index - start == BATCH_ROWS or size + length > BATCH_BYTES):
            yield start, index
            start, size = index, 0
        size += length
    if start < len(lengths):
        yield start, len(lengths)


def _check_batch(table: pa.Table, planned: npt.NDArray[np.bytes_]) -> None:
    """The ids that came out are those that went in; the plan holds each once."""
    if not np.array_equal(_digests(table["query_id"].to_pylist()), planned):
        raise OutputError("sealing: a journal record's head and body name different query ids")


def _digests(hexadecimals: list[str]) -> npt.NDArray[np.bytes_]:
    return np.array([bytes.fromhex(text[:32]) for text in hexadecimals], DIGEST)


def _distinct(parts: list[npt.NDArray[np.bytes_]]) -> npt.NDArray[np.bytes_]:
    if not parts:
        return np.empty(0, DIGEST)
    whole = np.concatenate(parts)
    _, first = np.unique(whole, return_index=True)
    return whole[np.sort(first)]


def _duplicates(bodies: Bodies, plan: Plan, start: int, stop: int) -> dict[int, list[str]]:
    """Row within the batch -> the keys of its further source rows, sorted."""
    found: dict[int, list[str]] = {}
    low, high = np.searchsorted(plan.extra_rows, [start, stop])
    for index, row in zip(plan.extra_records[low:high], plan.extra_rows[low:high].tolist(), strict=True):
        found.setdefault(row - start, []).append(json.loads(bodies.body(index))["source_key"])
    return {row: sorted(keys) for row, keys in found.items()}


def _with_duplicates(table: pa.Table, duplicates: Mapping[int, list[str]]) -> pa.Table:
    """The writer of a row cannot know its duplicates; the column is filled here."""
    import pyarrow as pa

    column = table.schema.get_field_index("duplicate_keys")
    kind = table.schema.field(column)
    values = pa.array([duplicates.get(row, []) for row in range(table.num_rows)], type=kind.type)
    return table.set_column(column, kind, values)


# --- pictures ------------------------------------------------------------------------------------------------------


def _write_pictures(store: Store, journal: Store, wanted: npt.NDArray[np.bytes_], tables: _Tables) -> None:
    records = read_records(journal, PICTURES)
    order = np.argsort(records.array["digest"], kind="stable")
    ordered = records.array["digest"][order]
    left, right = np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, side="right")
    with Bodies(journal, records) as bodies, TableWriter(store, "pictures", "picture") as writer:
        batch: list[dict[str, Any]] = []
        size = 0
        for digest, low, high in zip(wanted, left.tolist(), right.tolist(), strict=True):
            picture = _first_whole(bodies, order[low:high], bytes(digest).ljust(16, b"\0"))
            batch.append(picture_row(picture))
            size += len(picture.data)
            if size >= BATCH_BYTES:
                writer.write(batch)
                batch, size = [], 0
        writer.write(batch)
    tables.shards += writer.shards
    tables.pictures = sum(shard.rows for shard in writer.shards)
    tables.journal["damaged_bytes"] += records.damage.size
    if tables.pictures != len(wanted):
        raise OutputError(f"sealing: {len(wanted)} pictures are referred to, {tables.pictures} rows came out")


def _first_whole(bodies: Bodies, copies: npt.NDArray[np.int64], digest: bytes) -> Picture:
    """Several workers may have journalled the picture; the first copy that still has its checksum is taken."""
    for index in copies:
        facts, _, data = bodies.body(index).partition(b"\n")
        picture = Picture(data=data, **json.loads(facts))
        if hashlib.sha256(data).hexdigest() == picture.sha256 and picture.sha256.startswith(digest.hex()):
            return picture
    raise OutputError(
        f"picture {digest.hex()}… is referred to by a transcript, but no journal segment holds it whole: "
        "the journal is damaged. Start anew with another --out"
    )


# --- the manifest --------------------------------------------------------------------------------------------------


def _manifest(run: RunInfo, tables: _Tables, complete: bool | None) -> dict[str, Any]:
    read = tables.transcripts + tables.duplicates
    if complete and run.expected is not None and read != run.expected:
        raise OutputError(
            f"sealing as complete: {run.expected} source rows were planned, but {tables.transcripts} transcripts and "
            f"{tables.duplicates} duplicates make {read}"
        )
    return {
        "kind": "generate",
        "schema_version": SCHEMA_VERSION,
        "status": "complete" if complete or (complete is None and read == run.expected) else "partial",
        "run_id": run.run_id,
        "fingerprint": run.fingerprint,
        "fingerprint_fields": dict(run.fingerprint_fields),
        "engine_version": version(),
        "config": dict(run.config),
        "models": [dict(model) for model in run.models],
        "scripted": run.scripted,
        "started_at": run.started_at,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": {
            "read": read,
            "transcripts": tables.transcripts,
            "duplicates": tables.duplicates,
            "ok": tables.statuses["ok"],
            "unresolved": tables.statuses["unresolved"],
            "error": tables.statuses["error"],
            "pictures": tables.pictures,
        },
        "errors": dict(tables.errors.most_common()),
        "stats": {**run.stats, "journal": tables.journal},
        "files": [shard.entry() for shard in tables.shards],
    }


def _sweep(store: Store, manifest: Mapping[str, Any] | None) -> None:
    """Remove shards that the manifest does not name, and what killed writers left half-written."""
    named = {entry["path"] for entry in manifest["files"]} if manifest else set()
    for table in TABLES:
        for path in store.list(table):
            if path not in named and path.endswith((".parquet", TEMPORARY)):
                store.remove(path)
    for path in store.list():
        if path.startswith(f".{MANIFEST}.") and path.endswith(TEMPORARY):
            store.remove(path)
