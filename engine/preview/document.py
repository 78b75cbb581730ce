"""preview.json: the estimate, kept so that the run itself can be compared with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import schemas
from engine.errors import OutputError, UsageError
from engine.journal.segments import ROWS, iter_frames, segments
from engine.journal.store import Store
from engine.preview.choose import Chosen, Stratum, stratum_of
from engine.preview.estimate import Answered, Estimate, Pace
from engine.version import SCHEMA_VERSION, version

PREVIEW = "preview.json"
CALLED = ("steps", "seconds", "status", "category", "label_safe", "direct_verdict", "query_id")


def answered(row: Mapping[str, Any]) -> Answered:
    """A sealed transcript as the estimate sees it."""
    verdict = row["direct_verdict"]
    return Answered(
        stratum=stratum_of(row["category"], row["label_safe"]),
        calls=len(row["steps"]),
        prompt_tokens=sum(step["prompt_tokens"] or 0 for step in row["steps"]),
        completion_tokens=sum(step["completion_tokens"] or 0 for step in row["steps"]),
        seconds=row["seconds"],
        harmful=None if verdict in (None, "unchecked") else verdict != "harmless",
        error=row["status"] == "error",
    )


def pace_of(url: str, rows: Sequence[Mapping[str, Any]], started_at: str, engines: int) -> Pace:
    """Rows/s from the first row's start to the last one's end, by the times in the journal."""
    store = Store(url)
    ended = {
        frame.digest: frame.time_ns / 1e9 for segment in segments(store, ROWS) for frame in iter_frames(store, segment)
    }
    spans = [
        (ended[digest] - row["seconds"], ended[digest])
        for row in rows
        if (digest := bytes.fromhex(row["query_id"][:32])) in ended and row["steps"]
    ]
    if not spans:
        return Pace(0.0, 0, engines)
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    begun = datetime.fromisoformat(started_at).timestamp()
    most = max(sum(start <= at <= end for start, end in spans) for at, _ in spans)
    return Pace(len(spans) / max(1e-6, last - first), most, engines, max(0.0, first - begun))


def document_of(
    manifest: Mapping[str, Any],
    chosen: Chosen,
    rows: Sequence[Answered],
    pace: Pace,
    found: Estimate,
    price: float | None,
) -> dict[str, Any]:
    """The document, checked."""
    document = {
        "kind": "preview",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": manifest["run_id"],
        "fingerprint": manifest["fingerprint"],
        "scripted": manifest["scripted"],
        "queries": manifest["config"].get("queries"),
        "model": manifest["models"][0]["name"],
        "strategy": manifest["config"].get("strategy"),
        "answered": len(rows),
        "source": {"rows": found.rows, "unreadable": chosen.unreadable},
        "strata": [_stratum(each, chosen) for each in sorted(chosen.sizes)],
        "pace": {
            "rows_per_s": pace.rows_per_s,
            "in_flight": pace.in_flight,
            "engines": pace.engines,
            "startup_s": pace.startup_s,
            "given": pace.given,
        },
        "price_per_gpu_hour": price,
        "estimate": found.as_dict(),
    }
    try:
        schemas.check("preview", document, where=PREVIEW)
    except schemas.SchemaError as error:
        raise OutputError(f"the preview does not match its schema: {error}") from error
    return document


def _stratum(stratum: Stratum, chosen: Chosen) -> dict[str, Any]:
    return {
        "category": stratum[0],
        "label": stratum[1],
        "rows": chosen.sizes[stratum],
        "answered": chosen.taken.get(stratum, 0),
    }


def read_preview(url: str) -> dict[str, Any]:
    """UsageError: none there, or damaged."""
    store = Store(url)
    try:
        found = json.loads(store.read(PREVIEW))
        schemas.check("preview", found, where=store.path(PREVIEW))
    except FileNotFoundError as error:
        raise UsageError(
            f"{store.path(PREVIEW)}: not there; make a preview first, or name its folder with --out"
        ) from error
    except ValueError as error:
        raise UsageError(f"{store.path(PREVIEW)}: damaged ({error}); make the preview again") from error
    return dict(found)
