"""The rules of plan.py and index.py once more, in plain Python over lists: what the tests compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from hypothesis import strategies as st

from engine.journal.segments import JournalWriter
from tests.journal.make import failed, hex_id, transcript

OK, ERROR, SOURCE, DUPLICATE = "ok", "error", "source", "duplicate"


@dataclass(frozen=True)
class Op:
    """One call to one writer. The source row is a number: its key and its index."""

    writer: int
    kind: str
    name: int
    row: int

    @property
    def key(self) -> str:
        return f"rows.jsonl:{self.row}"

    def apply(self, writers: list[JournalWriter]) -> None:
        writer = writers[self.writer]
        if self.kind == DUPLICATE:
            writer.append_duplicate(hex_id(self.name), self.key, self.row)
        elif self.kind == OK:
            writer.append(transcript(self.name, self.key, self.row, steps=0))
        else:
            writer.append(failed(self.name, self.key, self.row, stage=self.kind))


OPS = st.lists(
    st.builds(
        Op,
        st.integers(0, 2),
        st.sampled_from([OK, OK, ERROR, SOURCE, DUPLICATE]),
        st.integers(0, 4),
        st.integers(0, 5),
    ),
    max_size=14,
)


def countable(ops: list[Op]) -> list[tuple[int, Op]]:
    """(age, op); notes about a row that never finished count for nothing."""
    known = {op.name for op in ops if op.kind != DUPLICATE}
    return [(age, op) for age, op in zip(count(), ops) if op.kind != DUPLICATE or op.name in known]


def done(ops: list[Op], retry_errors: bool) -> tuple[set[int], set[str]]:
    """(names, keys) that are done."""
    rows = [op for op in ops if op.kind != DUPLICATE]
    finished = [op for op in rows if op.kind == OK] if retry_errors else rows
    known = {op.name for op in rows}
    notes = [op for op in ops if op.kind == DUPLICATE and op.name in known]
    return {op.name for op in finished}, {op.key for op in finished + notes}


def sealed(ops: list[Op]) -> list[tuple[int, str, str, list[str]]]:
    """(name, source key, status, duplicate keys) in the order of the sealed table."""
    records = countable(ops)
    pairs = {pair for row in {op.row for _, op in records} for pair in _pairs_of(row, records)}
    rows = []
    for name in {name for name, _ in pairs}:
        mine = [(age, op) for age, op in records if op.name == name and op.kind != DUPLICATE]
        _, chosen = min(mine, key=_preference(pairs))
        others = sorted(f"rows.jsonl:{row}" for owner, row in pairs if owner == name and row != chosen.row)
        rows.append((chosen.row, hex_id(name), name, chosen.key, "ok" if chosen.kind == OK else "error", others))
    return [row[2:] for row in sorted(rows)]


def _pairs_of(row: int, records: list[tuple[int, Op]]) -> set[tuple[int, int]]:
    mine = [(age, op) for age, op in records if op.row == row]
    answers = {(op.name, row) for _, op in mine if op.kind == OK}
    if answers:
        return answers
    for kind in (DUPLICATE, ERROR, SOURCE):
        found = [op.name for _, op in mine if op.kind == kind]
        if found:
            return {(found[-1], row)}
    return set()


def _preference(pairs: set[tuple[int, int]]) -> Callable[[tuple[int, Op]], Any]:
    return lambda item: ((item[1].name, item[1].row) not in pairs, item[1].kind != OK, item[1].row, -item[0])
