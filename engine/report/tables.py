"""What the curated tables say of single rows: whether a row was kept, and examples of each reason to reject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from engine.curation.reading import open_table
from engine.errors import UsageError
from engine.journal.store import Store
from engine.report.sampling import Reservoir

Row = dict[str, Any]
Key = tuple[str, str]
"""(run_id, query_id)"""
EXAMPLES = 3
"""Rows shown for each reason."""
REASONS = 60
"""Reasons with examples; there are about twenty."""
BATCH = 1024
REJECTED = ["run_id", "query_id", "reason", "evidence", "stage", "query", "response", "category"]


class Outcomes(NamedTuple):
    """`of`: what became of the asked-for rows. `examples`: reason -> some rejected rows."""

    of: dict[Key, list[str]]
    examples: dict[str, list[Row]]


def outcomes(store: Store, curation: Mapping[str, Any], asked: Iterable[Key], seed: int = 0) -> Outcomes:
    """Read the keys of `sft/` and `preference/` and the texts of `rejected/`, batch by batch.

    Raises UsageError for a file that curation.json names and the folder lacks.
    """
    of: dict[Key, list[str]] = {key: [] for key in asked}
    for table, words in (("sft", "kept for sft"), ("preference", "in a preference pair")):
        for row in _rows(store, curation, table, ["run_id", "query_id"]):
            key = row["run_id"], row["query_id"]
            if key in of and words not in of[key]:
                of[key].append(words)
    examples: dict[str, Reservoir[Row]] = {}
    for row in _rows(store, curation, "rejected", REJECTED):
        reason = row["reason"]
        if reason not in examples and len(examples) < REASONS:
            examples[reason] = Reservoir(EXAMPLES, seed)
        if reason in examples:
            examples[reason].add(row)
        key = row["run_id"], row["query_id"]
        # A duplicate carries the id of the row that stayed: it says nothing against that one.
        if key in of and reason != "duplicate_query":
            of[key].append(f"rejected: {reason}")
    return Outcomes(of, {reason: found.items for reason, found in examples.items()})


def _rows(store: Store, curation: Mapping[str, Any], table: str, columns: list[str]) -> Iterator[Row]:
    for file in curation["files"]:
        if not file["path"].startswith(f"{table}/"):
            continue
        try:
            with open_table(store, file["path"]) as opened:
                for batch in opened.iter_batches(BATCH, columns=columns, use_threads=False):
                    yield from batch.to_pylist()
        except FileNotFoundError as error:
            raise UsageError(f"{store.url}: curation.json names {file['path']}, which is not there") from error
