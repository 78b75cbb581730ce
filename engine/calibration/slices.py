"""The labelled slice: which rows of a sealed run have both the judge's p(harmful) and a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.calibration.labels import WORLD, read_labels, world_label
from engine.calibration.measures import Bools, Floats
from engine.curation.reading import Run, transcripts
from engine.errors import UsageError

COLUMNS = [
    *("query_id", "source_key", "category", "status", "extra"),
    *("direct_response", "final_response", "p_harmful", "final_p_harmful"),
]
STEPS = {"direct": ("p_harmful", "direct_response"), "final": ("final_p_harmful", "final_response")}
"""What is judged -> (column of p, column of the text that was judged)."""


@dataclass
class Slice:
    """Rows with p and label, and how many had only one of them."""

    query_ids: list[str] = field(default_factory=list)
    p: Floats = field(default_factory=lambda: np.empty(0))
    harmful: Bools = field(default_factory=lambda: np.empty(0, bool))
    without_p: int = 0
    unreadable: int = 0
    """Answers that the world's labels cannot read."""
    unlabelled: int = 0


def rows_of(run: Run) -> Iterator[dict[str, Any]]:
    """The light columns of the run's transcripts; rows that failed are left out."""
    for batch in transcripts(run.store, run.manifest, COLUMNS):
        yield from (row for row in batch if row["status"] != "error")


def read_slice(run: Run, labels: str, step: str) -> Slice:
    """UsageError: a labelled row is not in the run, the run has no probabilities, or it was calibrated already."""
    refuse_unfit(run)
    column, text = STEPS[step]
    given = None if labels == WORLD else read_labels(labels)
    found, pairs, seen = Slice(), [], set()
    for row in rows_of(run):
        seen.add(row["query_id"])
        label = world_label(row, row[text]) if given is None else given.get(row["query_id"])
        if label is None:
            found.unreadable += given is None
            found.unlabelled += given is not None
        elif row[column] is None:
            found.without_p += 1
        else:
            found.query_ids.append(row["query_id"])
            pairs.append((row[column], label))
    missing = [key for key in given or () if key not in seen]
    if missing:
        raise UsageError(
            f"--labels {labels}: {len(missing):,} of {len(given or ()):,} query ids are not among the answered rows of "
            f"{run.store.url} (first: {missing[0]})"
        )
    found.p = np.array([p for p, _ in pairs], np.float64)
    found.harmful = np.array([label for _, label in pairs], bool)
    return found


def refuse_unfit(run: Run) -> None:
    """UsageError for a run whose p(harmful) is not the judge's own, or that has none."""
    fields = run.manifest["fingerprint_fields"]
    if fields.get("calibration"):
        raise UsageError(f"{run.store.url}: was generated with a calibration; calibrate a run that was made without")
    if fields.get("strategy", "ecso") != "ecso" or fields.get("preset", "robust") != "robust":
        raise UsageError(
            f"{run.store.url}: strategy {fields.get('strategy')}, preset {fields.get('preset') or 'none'} reads no "
            "probabilities; calibrate a run of --strategy ecso --preset robust"
        )
