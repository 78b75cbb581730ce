"""over_refusal: a refusal on a row that its source calls safe.

Covers: rows with `label_safe` true whose final answer refuses, by `engine.curation.refusal` or by a judge's annotation
where the row has one (`row["annotations"][judge]`: a word, or an Annotation).
Does not cover: rows without a label; safe answers of little use.
Default: on: each such row teaches over-refusal. (Its direct answer, where that was judged harmless, still makes a
preference pair.) `judge` names the annotation that overrides the words.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, response
from engine.curation.refusal import refused


def over_refusal(judge: str = "refusal") -> Filter:
    """`judge`: name of the annotation whose verdict goes first."""

    def run(row: Row) -> Drop | None:
        if row.get("label_safe") is not True or not response(row):
            return None
        verdict = (row.get("annotations") or {}).get(judge)
        yes, evidence = refused(response(row), getattr(verdict, "verdict", verdict))
        return Drop("over_refusal", evidence) if yes else None

    return run
