"""Rows between the read tasks and the actors, and acknowledgements back: two pinned Arrow schemas.

Both travel in envelopes: a table of one row whose one value is the real table. Ray Data shapes blocks by bytes, which
would gather a whole window of small rows into one block, or make a block of each large picture. One envelope is one
block, sent as soon as it is made (with `target_max_block_size = 1`, see `cluster.configure`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import pyarrow as pa

from engine.types import Picture, Query

ENVELOPE = pa.schema([pa.field("table", pa.large_binary())])


def wrap(table: pa.Table) -> pa.Table:
    """An envelope around one table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pa.table({"table": [sink.getvalue().to_pybytes()]}, schema=ENVELOPE)


def unwrap(envelopes: pa.Table) -> Iterator[pa.Table]:
    """The tables in a block of envelopes. A task that gave none (a worker that broke off) leaves a block of no rows,
    for which Ray Data knows no columns."""
    for value in envelopes.column("table") if envelopes.num_rows else ():
        yield pa.ipc.open_stream(value.as_buffer()).read_all()


PICTURE = pa.struct(
    [
        pa.field("data", pa.binary()),
        pa.field("sha256", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
    ]
)
ROW = pa.schema(
    [
        pa.field("query_id", pa.string()),
        pa.field("text", pa.string()),
        pa.field("pictures", pa.list_(PICTURE)),
        pa.field("source", pa.string()),
        pa.field("source_key", pa.string()),
        pa.field("source_index", pa.int64()),
        pa.field("split", pa.string()),
        pa.field("category", pa.string()),
        pa.field("subcategory", pa.string()),
        pa.field("label_safe", pa.bool_()),
        pa.field("reference", pa.string()),
        pa.field("extra", pa.string()),
        pa.field("duplicate", pa.bool_()),
        pa.field("problem", pa.string()),
        pa.field("problem_type", pa.string()),
    ]
)
QUERY_FIELDS = tuple(field.name for field in fields(Query))


@dataclass(frozen=True, slots=True)
class Row:
    """One row on its way to an actor. `duplicate`: its content was answered under another key.
    `problem`: it could not be read, and becomes an error transcript."""

    query: Query
    duplicate: bool = False
    problem: str | None = None
    problem_type: str | None = None


def to_table(rows: Iterable[Row]) -> pa.Table:
    """Pictures stay the encoded bytes of the source."""
    return pa.Table.from_pylist([_to_dict(row) for row in rows], schema=ROW)


def _to_dict(row: Row) -> dict[str, object]:
    found: dict[str, object] = {name: getattr(row.query, name) for name in QUERY_FIELDS}
    found["pictures"] = [
        {"data": p.data, "sha256": p.sha256, "width": p.width, "height": p.height, "format": p.format}
        for p in row.query.pictures
    ]
    found.update(duplicate=row.duplicate, problem=row.problem, problem_type=row.problem_type)
    return found


def to_rows(table: pa.Table) -> list[Row]:
    """The inverse of `to_table`."""
    return [_to_row(found) for found in table.to_pylist()]


def _to_row(found: dict[str, object]) -> Row:
    pictures = tuple(Picture(**picture) for picture in found["pictures"])  # type: ignore[attr-defined]
    values = {name: found[name] for name in QUERY_FIELDS}
    values["pictures"] = pictures
    return Row(
        query=Query(**values),  # type: ignore[arg-type]
        duplicate=bool(found["duplicate"]),
        problem=found["problem"],  # type: ignore[arg-type]
        problem_type=found["problem_type"],  # type: ignore[arg-type]
    )


ACK = pa.schema(
    [
        pa.field("query_id", pa.string()),
        pa.field("state", pa.string()),
        pa.field("direct_verdict", pa.string()),
        pa.field("final_verdict", pa.string()),
        pa.field("accepted", pa.bool_()),
        pa.field("calls", pa.int32()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("cached_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("error_type", pa.string()),
        pa.field("error_message", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Ack:
    """A row is in the journal (or was skipped by a drain: state `skipped`; or was there: `duplicate`)."""

    query_id: str
    state: str
    direct_verdict: str | None = None
    final_verdict: str | None = None
    accepted: bool = False
    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    error_type: str | None = None
    error_message: str | None = None


ACK_FIELDS = tuple(field.name for field in fields(Ack))


def acks_to_table(acks: Iterable[Ack]) -> pa.Table:
    """Acknowledgements as one small block."""
    return pa.Table.from_pylist([{name: getattr(ack, name) for name in ACK_FIELDS} for ack in acks], schema=ACK)


def table_to_acks(table: pa.Table) -> list[Ack]:
    """The inverse of `acks_to_table`."""
    return [Ack(**found) for found in table.to_pylist()]
