"""The second pass: kept rows to sft and preference, rows that a later step dropped to rejected; counts on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import schemas
from engine.curation import records
from engine.curation.contrast import partners
from engine.curation.counterfactuals import is_counterfactual
from engine.curation.cues import CueAudit, CueCounter
from engine.curation.ledger import Ledger
from engine.curation.reading import Pictures, Run, transcripts
from engine.curation.responses import Biggest, Distinct
from engine.curation.reviewed import Reviews
from engine.parquet import TableWriter

LONGEST_REFUSAL = 2_000
"""Characters. A longer refusal makes no mirror pair: the texts of all pairs are held at once."""
COLUMNS = [name for name in schemas.load("transcript")["properties"] if name != "steps"]
"""The steps are nine tenths of a transcript, and the second pass does not need them."""
Rows = dict[str, list[dict[str, Any]]]


class Written(NamedTuple):
    """What the second pass counted."""

    counts: Counter[str]
    diversity: dict[str, Any]
    cues: CueAudit
    """Openers against refusals, over all kept rows."""
    cues_before: CueAudit | None
    """The same without the counterfactual queries among them; None where there are none."""
    label_cues: CueAudit
    """Openers against the source's labels: what counterfactuals go by where nothing was refused."""


def write_rows(
    runs: Sequence[Run],
    ledger: Ledger,
    writers: Mapping[str, TableWriter],
    evidence: Mapping[int, str],
    marks: Mapping[int, str],
    candidates: npt.NDArray[np.int64],
    reviews: Reviews | None = None,
    caps: Mapping[str, str] | None = None,
) -> Written:
    """Write all rows that passed the filters; `candidates` are those that the caps were given; `caps`: reason -> the
    evidence of a row that it drops, where the row has none of its own."""
    reviews = reviews or Reviews()
    work = _Second(runs, ledger, evidence, marks, candidates, caps or {})
    position = 0
    for run in runs:
        pictures = Pictures(run.store, [file["path"] for file in run.files("pictures")])
        for batch in transcripts(run.store, run.manifest, COLUMNS):
            for row in batch:
                reviews.mark(row)
            made = work.batch(batch, position, pictures)
            for table, rows in made.items():
                writers[table].write(rows)
            position += len(batch)
    kept = len(ledger.kept())
    diversity = {**work.distinct.figures(), "clusters": work.biggest.figures(), "capped": work.counts["capped"]}
    diversity["kept"] = kept
    cues, before = work.cues.beside(work.swapped).result(), work.cues.result() if work.counts["swapped"] else None
    return Written(work.counts, diversity, cues, before, work.labels.result())


class _Second:
    """State of the second pass."""

    def __init__(
        self,
        runs: Sequence[Run],
        ledger: Ledger,
        evidence: Mapping[int, str],
        marks: Mapping[int, str],
        candidates: npt.NDArray[np.int64],
        caps: Mapping[str, str],
    ) -> None:
        self.ledger, self.evidence, self.marks, self.caps = ledger, evidence, marks, caps
        self.partner = partners(ledger)
        self.refusals = _partner_refusals(runs, ledger, self.partner)
        self.distinct, self.biggest = Distinct(ledger, ledger.kept()), Biggest(ledger, candidates)
        self.cues, self.swapped, self.labels, self.counts = CueCounter(), CueCounter(), CueCounter(), Counter[str]()

    def batch(self, batch: list[dict[str, Any]], first: int, pictures: Pictures) -> Rows:
        places = [self.ledger.where(first + k) for k in range(len(batch))]
        kept = [row for row, (step, _) in zip(batch, places, strict=True) if step == "kept"]
        images = pictures.images({sha for row in kept for sha in row["picture_sha256"]})
        made: Rows = {"sft": [], "preference": [], "rejected": []}
        for k, (row, (step, reason)) in enumerate(zip(batch, places, strict=True)):
            if step == "kept":
                self._keep(row, first + k, [images[sha] for sha in row["picture_sha256"]], made)
            elif step in LATE:
                made["rejected"].append(
                    records.rejected(row, reason, self.evidence.get(first + k, self.caps.get(reason)))
                )
                self.counts["capped"] += step == "response_cap"
        for table, rows in made.items():
            self.counts[table] += len(rows)
        return made

    def _keep(self, row: dict[str, Any], position: int, images: list[dict[str, Any]], made: Rows) -> None:
        other = int(self.partner[position])
        refusal = bool(self.ledger.column("refusal")[position])
        contrast = None if other < 0 else self.ledger.query_id(other)
        made["sft"].append(records.sft(row, images, records.Notes(refusal, contrast, self.marks.get(position))))
        pair = records.preference(row, images)
        if pair is not None:
            made["preference"].append(pair)
        if row["label_safe"] and not refusal and other in self.refusals:
            made["preference"].append(records.mirror(row, images, self.refusals[other]))
        self.distinct.add(position, row["final_response"])
        self.biggest.add(position, row["final_response"])
        swapped = is_counterfactual(row["extra"])
        (self.swapped if swapped else self.cues).add(row["query"], refusal)
        self.counts["swapped"] += swapped
        if row["label_safe"] is not None:
            self.labels.add(row["query"], not row["label_safe"])


LATE = ("duplicates", "leakage", "response_cap", "category_cap", "source_cap", "safe_to_unsafe")
"""The steps after the filters, in order."""


def kept_rows(runs: Sequence[Run], ledger: Ledger) -> Iterator[tuple[dict[str, Any], int]]:
    """(transcript without steps, position) of every kept row."""
    position = 0
    for run in runs:
        for batch in transcripts(run.store, run.manifest, COLUMNS):
            for row in batch:
                if ledger.where(position)[0] == "kept":
                    yield row, position
                position += 1


def _partner_refusals(runs: Sequence[Run], ledger: Ledger, partner: npt.NDArray[np.int64]) -> dict[int, str]:
    """The refusals of unsafe rows that stand beside a safe one; equal texts are held once."""
    label, refusal = ledger.column("label"), ledger.column("refusal")
    safe = np.flatnonzero((partner >= 0) & (label == 1))
    wanted = {int(position) for position in partner[safe] if refusal[position]}
    if not wanted:
        return {}
    texts: dict[int, str] = {}
    same: dict[str, str] = {}
    position = 0
    for run in runs:
        for batch in transcripts(run.store, run.manifest, ["final_response"]):
            for row in batch:
                text = row["final_response"]
                if position in wanted and len(text) <= LONGEST_REFUSAL:
                    texts[position] = same.setdefault(text, text)
                position += 1
    return texts


def cue_sections(cues: CueAudit, before: CueAudit | None = None) -> dict[str, Any]:
    """The `cues` section of curation.json, with its note where there is no AUC; `before` and `after` where the set
    holds counterfactual queries and both can be told."""
    found = cues.section()
    if found is not None and before is not None and before.auc is not None:
        found = {"before": before.section(), "after": found}
    return {"cues": found, **({} if cues.note is None else {"cues_note": cues.note})}
