"""A sealed, annotated run as the scorers see it: one `Answer` a row, with what each judge said of it.

Benchmarks hold thousands of rows, not millions: the texts of one run fit in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.curation.reading import transcripts
from engine.errors import UsageError
from engine.evaluation.benchmarks.base import Answer
from engine.evaluation.opinions import GRADED, Kind, Opinion, kind_of
from engine.journal.store import Store
from engine.judges.files import Key, files

COLUMNS = [
    *("query_id", "category", "subcategory", "label_safe", "extra", "query", "picture_sha256", "source_key"),
    *("final_response", "final_verdict", "final_p_harmful", "status"),
]
WORDS = {"refused": "refusal", "answered": "answer"}
"""Annotations say what was done, opinions what it is."""
READ = ("query_id", "verdict", "p", "score", "text")
SELF_WORDS = ("harmless", "harmful", "unknown")


@dataclass(frozen=True, slots=True)
class Row:
    """What else the page needs of an answer."""

    answer: Answer
    pictures: tuple[str, ...]
    source_key: str


Opinions = Mapping[str, Opinion]
"""query_id -> what one judge says."""


def rows_of(
    store: Store,
    manifest: Mapping[str, Any],
    part: str,
    judges: Mapping[str, Opinions],
    *,
    own: str | None = None,
    tells: Mapping[str, Kind | None] | None = None,
) -> list[Row]:
    """Every transcript of the run, in its order. `own`: the judge that goes by the transcript's own verdict first;
    `tells`: what judges from outside the engine declare.

    A row with a response that a judge has not judged (its request failed, the response is empty) is `unknown` to it.
    """
    found = []
    kinds: dict[str, Kind] = {
        name: (tells or {}).get(name) or kind_of(name, opinions.values()) for name, opinions in judges.items()
    }
    for batch in transcripts(store, dict(manifest), COLUMNS):
        for row in batch:
            said = {
                name: replace(_opinion(opinions, row, name == own), kind=kinds[name])
                for name, opinions in judges.items()
            }
            found.append(Row(_answer(row, part, said), tuple(row["picture_sha256"]), row["source_key"]))
    return found


def _answer(row: Mapping[str, Any], part: str, verdicts: Mapping[str, Opinion]) -> Answer:
    return Answer(
        query_id=row["query_id"],
        part=part,
        category=row["category"],
        subcategory=row["subcategory"],
        label_safe=row["label_safe"],
        query=row["query"],
        response=None if row["status"] == "error" else row["final_response"],
        status=row["status"],
        extra=json.loads(row["extra"] or "{}"),
        verdicts=verdicts,
    )


def _opinion(opinions: Opinions, row: Mapping[str, Any], is_own: bool) -> Opinion:
    if is_own and row["final_verdict"] in SELF_WORDS and row["status"] != "error":
        return Opinion(row["final_verdict"], row["final_p_harmful"], text="the transcript's own verdict")
    found = opinions.get(row["query_id"])
    if found is not None:
        return found
    if row["status"] == "error":
        return Opinion("unknown", text="the row errored")
    return Opinion("unknown", text="not judged" if row["final_response"] else "the response is empty")


def opinions(store: Store, key: Key) -> dict[str, Opinion]:
    """query_id -> what the judge of this key says. An id that stands twice (a kill while files were put together)
    holds by its first row. UsageError for a file that cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, Opinion] = {}
    for name in files(store, key.stem):
        try:
            with store.open(name) as file:
                table = pq.ParquetFile(file)
                there = [column for column in READ if column in table.schema.names]
                for row in table.read(columns=there).to_pylist():
                    found.setdefault(row["query_id"], _read(row))
        except (pa.ArrowException, OSError) as error:
            raise UsageError(f"{store.path(name)}: no readable Parquet file ({error}); remove it, and go on") from error
    return found


def _read(row: Mapping[str, Any]) -> Opinion:
    score, verdict = row.get("score"), row["verdict"]
    if verdict is None:
        verdict = "unknown" if score is None else GRADED
    return Opinion(WORDS.get(verdict, verdict), row.get("p"), score, row.get("text"))


def has_own_verdicts(store: Store, manifest: Mapping[str, Any]) -> bool:
    """Whether the model judged every answer of the run itself while answering."""
    wanted = ["final_verdict", "status"]
    rows: Sequence[Mapping[str, Any]] = [row for batch in transcripts(store, dict(manifest), wanted) for row in batch]
    return all(row["final_verdict"] in SELF_WORDS for row in rows if row["status"] != "error")
