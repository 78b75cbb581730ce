"""Estimate against actual: what a preview said, and what the sealed run took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from engine.curation.reading import transcripts
from engine.errors import UsageError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.preview.document import CALLED, answered, pace_of


class Line(NamedTuple):
    """One figure. `inside` is None where there is no interval to stand in."""

    name: str
    estimate: float
    low: float | None
    high: float | None
    actual: float | None
    inside: bool | None


class Comparison(NamedTuple):
    lines: list[Line]
    notes: list[str]


def compare(preview: Mapping[str, Any], run: str) -> Comparison:
    """UsageError where the run is not sealed, or answered with other settings than the preview."""
    manifest = read_manifest(run)
    if manifest is None:
        raise UsageError(f"{run}: not sealed (no manifest.json); finish the run first")
    if manifest["fingerprint"] != preview["fingerprint"]:
        raise UsageError(
            f"{run}: fingerprint {manifest['fingerprint'][:8]}, the preview has {preview['fingerprint'][:8]}: "
            "made with other settings that change an answer, so there is nothing to compare"
        )
    rows = list(_light(run, manifest))
    found = [answered(row) for row in rows]
    good = [row for row in found if not row.error]
    judged = [row for row in good if row.harmful is not None]
    pace = pace_of(run, rows, manifest["started_at"], 1)
    told = preview["estimate"]
    per_row = max(1, len(good))
    actual: dict[str, float | None] = {
        "p_harmful": sum(bool(row.harmful) for row in judged) / len(judged) if judged else None,
        "calls_per_row": sum(row.calls for row in good) / per_row,
        "tokens_per_row": sum(row.prompt_tokens + row.completion_tokens for row in good) / per_row,
        "completion_tokens_per_row": sum(row.completion_tokens for row in good) / per_row,
        "errors": sum(row.error for row in found) / max(1, len(found)),
        "rows_per_s": pace.rows_per_s or None,
        "hours": len(found) / pace.rows_per_s / 3600 if pace.rows_per_s else None,
    }
    price = preview["price_per_gpu_hour"]
    if told["cost"] is not None and actual["hours"] is not None:
        actual["cost"] = actual["hours"] * told["gpus"] * price
    return Comparison(
        [_line(name, told[name], value) for name, value in actual.items() if told[name] is not None],
        _notes(preview, manifest, len(found)),
    )


def _light(run: str, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for batch in transcripts(Store(run), dict(manifest), list(CALLED)):
        for row in batch:
            row["steps"] = [
                {"prompt_tokens": step["prompt_tokens"], "completion_tokens": step["completion_tokens"]}
                for step in row["steps"]
            ]
            yield row


def _line(name: str, told: Any, actual: float | None) -> Line:
    if not isinstance(told, Mapping):
        return Line(name, float(told), None, None, actual, None)
    inside = None if actual is None else bool(told["low"] <= actual <= told["high"])
    return Line(name, told["value"], told["low"], told["high"], actual, inside)


def _notes(preview: Mapping[str, Any], manifest: Mapping[str, Any], rows: int) -> list[str]:
    notes = []
    if rows != preview["source"]["rows"]:
        notes.append(f"the run has {rows:,} transcripts, the estimate was for {preview['source']['rows']:,} rows")
    if manifest["status"] != "complete":
        notes.append("the run is partial")
    if not preview["pace"]["given"]:
        notes.append(
            f"the time was estimated at the preview's own pace, {preview['pace']['in_flight']} rows in flight; "
            "its interval is of the rows, not of the machine"
        )
    if manifest["scripted"]:
        notes.append("a script answered, no model: times and tokens mean nothing")
    return notes
