"""What `engine.calibrate` writes: cal.json last, and beside it its page, the reliability diagram and a review file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.calibration.curve import Curve
from engine.calibration.diagram import png, svg
from engine.calibration.slices import rows_of
from engine.config import CalibrateConfig
from engine.curation.reading import Run
from engine.errors import OutputError

REVIEW = "review.jsonl"


def write(run: Run, document: Mapping[str, Any], curve: Curve, config: CalibrateConfig) -> None:
    """OutputError where a file cannot be written. The review file is there only with a band."""
    out = Path(config.out)
    try:
        _replace(out.with_suffix(".png"), png(document))
        _replace(out.with_suffix(".html"), page(document))
        if document["abstain"] is not None:
            rows = review_rows(run, curve, document["abstain"], document["threshold"])
            write_reviews(Path(config.review or out.parent / REVIEW), rows)
        _replace(out, json.dumps(document, indent=1).encode())
    except OSError as error:
        raise OutputError(f"{out.parent}: cannot write the calibration ({error})") from error


def write_reviews(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """The review file; how many rows it holds."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    _replace(path, "".join(lines).encode())
    return len(lines)


def review_rows(
    run: Run, curve: Callable[[float], float], band: Sequence[float], threshold: float
) -> Iterator[dict[str, Any]]:
    """The rows of the run whose final answer lies in the band, verdict to be filled in (`curate --reviewed`).

    `curve`: what makes the run's p a calibrated one. The note holds no query and no answer: who reviews looks the row
    up in the run's report, where text stays closed.
    """
    for row in rows_of(run):
        if row["final_p_harmful"] is None:
            continue
        p = curve(row["final_p_harmful"])
        if band[0] <= p < band[1]:
            note = f"calibrated p(harmful) {p:.3f}, threshold {threshold:.3f}; {row['category'] or 'no category'}"
            yield {"query_id": row["query_id"], "verdict": None, "note": f"{note}; {row['source_key']}"}


def page(document: Mapping[str, Any]) -> bytes:
    """The page: the report's look, self-contained, no text of any row."""
    from engine.report.page import render

    held_out = document["held_out"]
    panels = [(name, svg(held_out["reliability"][name], name)) for name in ("before", "after")]
    judge = [(name, value) for name, value in document["judge"].items() if value not in (None, {})]
    return render({"cal": document, "held_out": held_out, "panels": panels, "judge": judge}, "calibration.html")


def _replace(path: Path, data: bytes) -> None:
    """The whole file or the old one: written beside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
