"""Which record of the journal becomes which row of the sealed table: pure numpy, no input or output.

The rule, in one sentence: every source row belongs to one query id, every query id with a source row keeps one record.

- A source row belongs to the id that it was answered under; without an answer, to the id that its latest duplicate
  note names; without one, to the id of its latest error, and a row that could not be read counts last. So a bad
  source row that was repaired under `--retry-errors` leaves no trace of its old error under its old id.
- Of the records of one id an answer beats an error; then the row that stands first in the source wins, so that the
  result does not depend on which actor was faster; then the latest record.
- The other source rows of that id are its duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.journal import frames
from engine.journal.index import KINDS, is_error

Indices = npt.NDArray[np.int64]
ANSWER, NOTE, FAILED, UNREADABLE = range(4)


@dataclass(frozen=True, slots=True)
class Plan:
    """Indices into the records."""

    rows: Indices
    """The record of each row, in the order of the source."""
    extra_records: Indices
    """For each further source row of a kept id: a record that names it."""
    extra_rows: Indices
    """The row (an index into `rows`) that each of `extra_records` is a duplicate of; ascending."""
    superseded: int
    """Ids that had a transcript and are not kept: old errors of source rows that have another id now."""


def make_plan(records: npt.NDArray[Any]) -> Plan:
    """The plan for these records (`engine.journal.index.Records.array`)."""
    records, original = _countable(records)
    ids, id_codes = np.unique(records["digest"], return_inverse=True)
    keys, key_codes = np.unique(records["key"], return_inverse=True)
    pairs = id_codes.astype(np.int64) * max(1, len(keys)) + key_codes
    owned_pairs, owned = _owned(records, id_codes, key_codes, pairs)
    chosen = _choose(records, id_codes, owned, np.unique(owned_pairs // max(1, len(keys))))
    chosen = chosen[np.lexsort((records["digest"][chosen], records["source_index"][chosen]))]
    row_of_id = np.full(len(ids), -1, np.int64)
    row_of_id[id_codes[chosen]] = np.arange(len(chosen))
    extra, rows = _extras(pairs, owned_pairs, pairs[chosen], id_codes, row_of_id)
    return Plan(original[chosen], original[extra], rows, int(len(ids) - len(chosen)))


def _countable(records: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Indices]:
    """Without notes about a row that never finished, and where each record stood."""
    notes = records["kind"] == KINDS[frames.DUPLICATE]
    known = np.isin(records["digest"], np.unique(records["digest"][~notes]))
    original = np.flatnonzero(~notes | known).astype(np.int64)
    return records[original], original


def _grades(kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    grades = np.full(len(kinds), ANSWER, np.int8)
    grades[kinds == KINDS[frames.DUPLICATE]] = NOTE
    grades[kinds == KINDS[frames.ERROR]] = FAILED
    grades[kinds == KINDS[frames.SOURCE_ERROR]] = UNREADABLE
    return grades


def _age(records: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Sorts the latest first."""
    age: Indices = -records["time"].astype(np.int64)
    return age


def _owned(
    records: npt.NDArray[Any], id_codes: Indices, key_codes: Indices, pairs: Indices
) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """The (id, source row) pairs that hold, sorted; and for each record whether its pair does."""
    grades = _grades(records["kind"])
    backwards = -np.arange(len(records))
    order = np.lexsort((backwards, _age(records), grades, key_codes))
    best = order[_first_of_each(key_codes[order])]
    answered = (grades[best] == ANSWER)[key_codes]
    holds = np.where(answered, grades == ANSWER, id_codes == id_codes[best][key_codes])
    owned_pairs = np.unique(pairs[holds])
    return owned_pairs, np.isin(pairs, owned_pairs)


def _choose(records: npt.NDArray[Any], id_codes: Indices, owned: npt.NDArray[np.bool_], live: Indices) -> Indices:
    """One transcript for each live id."""
    transcripts = (records["kind"] != KINDS[frames.DUPLICATE]) & np.isin(id_codes, live)
    candidates = np.flatnonzero(transcripts)
    found = records[candidates]
    order = np.lexsort(
        (
            -candidates,
            _age(found),
            found["source_index"],
            is_error(found["kind"]),
            ~owned[candidates],
            id_codes[candidates],
        )
    )
    candidates = candidates[order]
    first: Indices = candidates[_first_of_each(id_codes[candidates])].astype(np.int64)
    return first


def _extras(
    pairs: Indices, owned_pairs: Indices, chosen_pairs: Indices, id_codes: Indices, row_of_id: Indices
) -> tuple[Indices, Indices]:
    """One record for each owned pair that is not the chosen one of its id, and its row; ordered by row."""
    distinct, first = np.unique(pairs, return_index=True)
    first = first[np.isin(distinct, owned_pairs) & ~np.isin(distinct, chosen_pairs)]
    rows = row_of_id[id_codes[first]]
    order = np.argsort(rows, kind="stable")
    return first[order].astype(np.int64), rows[order]


def _first_of_each(sorted_codes: Indices) -> npt.NDArray[np.bool_]:
    """True at the first of each run of equal codes."""
    first = np.ones(len(sorted_codes), bool)
    first[1:] = sorted_codes[1:] != sorted_codes[:-1]
    return first
