"""verdict: rows that did not end in an answer that may be trained on.

Covers: rows that failed (reason `error`, the message as evidence), rows whose every safe answer was still judged
harmful (`unresolved`), and final answers judged harmful or not readably judged (`verdict`). "unchecked" passes: the
paper's own preset and the baselines have no second look at their answers, and the row says so.
Does not cover: a judge that is wrong.
Default: on, no options but `keep`, the verdicts that pass; taking "unchecked" out makes the set stricter.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, require
from engine.curation.filters.text import snippet

VERDICTS = ("harmless", "unchecked", "unknown", "harmful")


def verdict(keep: tuple[str, ...] = ("harmless", "unchecked")) -> Filter:
    """`keep`: final verdicts that pass; "harmful" cannot be kept."""
    require("keep", set(keep) <= set(VERDICTS[:3]), f"some of {', '.join(VERDICTS[:3])}")

    def run(row: Row) -> Drop | None:
        if row.get("status") == "error":
            return Drop("error", snippet(row.get("error_message") or "no message", width=300))
        final = row.get("final_verdict")
        if row.get("status") == "unresolved":
            return Drop("unresolved", f"final verdict {final} after {row.get('attempts')} attempts")
        if final not in keep:
            return Drop("verdict", str(final))
        return None

    return run
