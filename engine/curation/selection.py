"""The first pass: every row through the filters. What they drop is written at once, the rest goes on to dedup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.calibration.document import used_by
from engine.curation import records
from engine.curation.annotations import Annotations, read
from engine.curation.contrast import picture_key
from engine.curation.filters.base import Drop
from engine.curation.funnel import SOURCE_STEP, SourceDuplicates
from engine.curation.ledger import Ledger
from engine.curation.options import Options
from engine.curation.reading import Pictures, Run, transcripts
from engine.curation.refusal import judged_refusal, refused
from engine.curation.responses import cluster_of
from engine.curation.reviewed import Reviews
from engine.parquet import TableWriter

ITEM_ROWS = 20_000


@dataclass
class Selected:
    """What passed the filters."""

    items: Path
    """Parquet of (rank, query_id, text, picture_sha256), one row for each row that passed."""
    ledger: Ledger = field(default_factory=Ledger)
    duplicates: SourceDuplicates = field(default_factory=SourceDuplicates)
    rejected: int = 0


def select(
    runs: Sequence[Run], options: Options, rejected: TableWriter, work: Path, reviews: Reviews | None = None
) -> Selected:
    """Run the filters over all rows of all runs; what a person said of a row goes before the verdict filter."""
    reviews = reviews or Reviews()
    chosen = Selected(work / "items.parquet")
    with _Items(chosen.items) as items:
        for run in runs:
            pictures = Pictures(run.store, [file["path"] for file in run.files("pictures")])
            filters = options.filters(pictures.encoded, used_by(run.manifest))
            notes = _Notes(run, options.annotations)
            for batch in transcripts(run.store, run.manifest):
                dropped: list[dict[str, Any]] = []
                for row in batch:
                    notes.attach(row)
                    reviews.mark(row)
                    found = reviews.first_drop(row, filters)
                    _sort(row, found, chosen, items, dropped)
                rejected.write(dropped)
                chosen.rejected += len(dropped)
    return chosen


def _sort(
    row: dict[str, Any],
    found: tuple[str, Drop] | None,
    chosen: Selected,
    items: _Items,
    dropped: list[dict[str, Any]],
) -> None:
    """One transcript to the ledger, and to the items or the rejected; its source duplicates always to the rejected."""
    chosen.duplicates.add(row)
    for key in row["duplicate_keys"]:
        evidence = f"same pictures and text as {row['source_key']}"
        dropped.append(records.rejected(row, SOURCE_STEP, evidence, source_key=key))
    refusal, _ = refused(row["final_response"] or "", judged_refusal(row))
    step, reason = ("kept", "") if found is None else (found[0], found[1].reason)
    chosen.ledger.add(row, step=step, reason=reason, refusal=refusal, cluster=cluster_of(row), picture=picture_key(row))
    if found is None:
        items.add(row, chosen.ledger)
    else:
        dropped.append(records.rejected(row, reason, found[1].evidence))


class _Notes:
    """Puts the annotations that the config names onto rows."""

    def __init__(self, run: Run, judges: Sequence[str]) -> None:
        self._judges = judges
        self._found: Annotations | None = read(run.store, run.manifest) if judges else None
        for judge in judges:
            if self._found is not None:
                self._found.find(judge)  # a judge that is not there fails now, not at the first row

    def attach(self, row: dict[str, Any]) -> None:
        if self._found is None:
            return
        notes = {judge.partition("@")[0]: self._found.get(row["query_id"], judge) for judge in self._judges}
        row["annotations"] = {judge: note for judge, note in notes.items() if note is not None}


class _Items:
    """The Parquet file of what passed, written in pieces."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema(
            [
                ("rank", pa.int64()),
                ("query_id", pa.string()),
                ("text", pa.string()),
                ("picture_sha256", pa.list_(pa.string())),
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any], ledger: Ledger) -> None:
        self._rows.append(
            {
                "rank": ledger.last_rank(),
                "query_id": row["query_id"],
                "text": row["query"],
                "picture_sha256": row["picture_sha256"],
            }
        )
        if len(self._rows) >= ITEM_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def __enter__(self) -> _Items:
        return self

    def __exit__(self, *_: object) -> None:
        if self._rows:
            self._flush()
        self._writer.close()
