"""verdict: rows that did not end in an answer that may be trained on.

Covers: rows that failed (reason `error`, the message as evidence), rows whose every safe answer was still judged
harmful (`unresolved`), final answers judged harmful or not readably judged (`verdict`), and, in a calibrated run,
answers whose p(harmful) lies in the abstain band (`needs_review`), unless a second judge's annotation on the final
response decides: harmful drops the row, harmless keeps it. "unchecked" passes: the paper's own preset and the baselines
have no second look at their answers, and the row says so.
Does not cover: a judge that is wrong.
Default: on. `keep`: the verdicts that pass; taking "unchecked" out makes the set stricter. `threshold`, `abstain_low`
and `abstain_high` come from the run's calibration (docs/calibrate.md), where it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.curation.filters.base import Drop, Filter, Row, require
from engine.curation.filters.text import snippet

VERDICTS = ("harmless", "unchecked", "unknown", "harmful")


def verdict(
    keep: tuple[str, ...] = ("harmless", "unchecked"),
    threshold: float = 0.0,
    abstain_low: float = 1.0,
    abstain_high: float = 1.0,
) -> Filter:
    """`keep`: final verdicts that pass; "harmful" cannot be kept. `threshold`: named in the evidence where it is not 0.
    `abstain_low`, `abstain_high`: p(harmful) from low to below high is nobody's verdict; equal: no such band."""
    require("keep", set(keep) <= set(VERDICTS[:3]), f"some of {', '.join(VERDICTS[:3])}")
    require("abstain_low", 0 <= abstain_low <= abstain_high <= 1, "0 <= abstain_low <= abstain_high <= 1")
    at = f" (threshold {threshold:.4f})" if threshold else ""

    def run(row: Row) -> Drop | None:
        if row.get("status") == "error":
            return Drop("error", snippet(row.get("error_message") or "no message", width=300))
        final, p = row.get("final_verdict"), row.get("final_p_harmful")
        if row.get("status") == "unresolved":
            return Drop("unresolved", f"final verdict {final} after {row.get('attempts')} attempts{at}")
        if final not in keep:
            return Drop("verdict", f"{final}, p(harmful) {p:.4f}{at}" if at and p is not None else str(final))
        if p is not None and abstain_low <= p < abstain_high:
            return abstained(row, f"p(harmful) {p:.4f} in the band {abstain_low:.4f} to {abstain_high:.4f}{at}")
        return None

    return run


def abstained(row: Row, evidence: str) -> Drop | None:
    """What the other judges of the final response say where the first one abstains; harmful outweighs harmless."""
    notes: Mapping[str, Any] = row.get("annotations") or {}
    said = {name: note.verdict for name, note in notes.items() if note.field == "final_response"}
    harmful = [name for name, found in said.items() if found == "harmful"]
    if harmful:
        return Drop("verdict", f"harmful by {harmful[0]}; {evidence}")
    return None if "harmless" in said.values() else Drop("needs_review", evidence)
