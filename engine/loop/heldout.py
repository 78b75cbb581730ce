"""No held-out query in any training file: asserted before every training, with the rows named.

A query is its pictures and its text (`query_id`); the same text alone is a repeat too, unless the configuration says
that the sets share their wordings (`heldout_text: count`), and then it is counted. Utility rows are looked at as well.
Covers: exact pictures, texts up to case and white space. Does not cover: near copies; that is the leakage gate of
curate, with an index made by engine.leakage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.curation.reading import transcripts
from engine.errors import OutputError, UsageError
from engine.export.base import Dialogue
from engine.export.read import open_curated
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.types import query_id

SHOWN = 10
MIX_ROWS = 5000
"""As train mixes where nothing else is said (engine/training/data.py)."""


class LeakError(OutputError):
    """A held-out query stands among the training rows."""


@dataclass
class Heldout:
    """Every query of the evaluation sets: ids and texts, each with a name to show."""

    ids: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def add(self, evaluation: Path) -> None:
        """The rows of all runs of an evaluation's folder."""
        for run in sorted((evaluation / "runs").iterdir()):
            manifest = read_manifest(str(run))
            if manifest is None:
                continue
            columns = ["query_id", "query", "source_key"]
            for batch in transcripts(Store(str(run)), manifest, columns):
                for row in batch:
                    name = f"{run.name}: {row['source_key']}"
                    self.ids.setdefault(row["query_id"], name)
                    self.texts.setdefault(plain(row["query"]), name)

    def join(self, validation: Path) -> None:
        """The validation set is held out as well. UsageError where it holds a query of the evaluation sets: a model
        chosen on it would be chosen on what it is measured on."""
        rows = Heldout()
        rows.add(validation)
        common = [query for query in rows.ids if query in self.ids]
        if common:
            shown = [f"{rows.ids[query]} = {self.ids[query]}" for query in common[:SHOWN]]
            raise UsageError(
                f"loop.validation: {len(common)} of its {len(rows.ids)} queries are held-out queries too; name a set "
                "that evaluate.benchmark does not name:\n  " + "\n  ".join(shown)
            )
        self.ids |= rows.ids
        self.texts = {**rows.texts, **self.texts}


@dataclass(frozen=True, slots=True)
class Trained:
    """One training row as it is compared."""

    name: str
    query_id: str
    text: str
    digest: str
    """Of all that is trained on beside the pictures: turns, and the rejected answer."""


def plain(text: str) -> str:
    """Without case and white space's differences."""
    return " ".join(text.casefold().split())


def check(stage: str, data: Path, section: Mapping[str, Any], heldout: Heldout, text: str) -> dict[str, Any]:
    """How many rows were compared and how many texts repeat. LeakError names the rows that no training may see."""
    rows = list(training_rows(data, section))
    by_id = [row for row in rows if row.query_id in heldout.ids]
    by_text = [row for row in rows if row.text in heldout.texts]
    bad = by_id or (by_text if text == "fail" else [])
    if bad:
        what = "queries" if by_id else "texts"
        where = heldout.ids if by_id else heldout.texts
        shown = [f"{row.name} = {where[row.query_id if by_id else row.text]}" for row in bad[:SHOWN]]
        raise LeakError(
            f"stage {stage}: {len(bad)} held-out {what} stand among the {len(rows)} training rows of {data}:\n  "
            + "\n  ".join(shown)
        )
    lines = sorted(f"{row.name} {row.query_id} {row.digest}" for row in rows)
    digest = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    counts = {"rows": len(rows), "heldout": len(heldout.ids), "same_text": len(by_text)}
    return {"stage": stage, "rows_sha256": digest, **counts}


def same_rows(checks: Sequence[Mapping[str, Any]], one: str, other: str) -> bool:
    """Whether two arms (`seed-0/variants/NAME`) were first trained on the same rows, answers and all."""
    first = [next((c["rows_sha256"] for c in checks if c["stage"].startswith(f"{arm}/")), None) for arm in (one, other)]
    return first[0] is not None and first[0] == first[1]


def training_rows(data: Path, section: Mapping[str, Any]) -> Iterator[Trained]:
    """sft/ and preference/ of the curated set, and the utility rows that train will mix in."""
    curated = open_curated(str(data), allow_partial=bool(section.get("allow_partial")))
    for table in ("sft", "preference"):
        for dialogue in curated.read(table):
            yield Trained(f"{table} {dialogue.id}", dialogue.id, plain(dialogue.turns[0].text), _digest(dialogue))
    if section.get("mix"):
        from engine.export.export import taken_ids
        from engine.export.mix import choose

        rows = section.get("mix_rows") or MIX_ROWS
        mix = choose(str(section["mix"]), rows, int(section.get("seed", 0)), taken_ids(curated))
        for dialogue in mix.rows():
            digests = [hashlib.sha256(image).digest() for image in dialogue.images]
            first = dialogue.turns[0].text
            yield Trained(dialogue.id, query_id(digests, first), plain(first), _digest(dialogue))


def _digest(dialogue: Dialogue) -> str:
    text = json.dumps([*(turn.text for turn in dialogue.turns), dialogue.rejected])
    return hashlib.sha256(text.encode()).hexdigest()
