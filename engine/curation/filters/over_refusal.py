"""over_refusal: a refusal on a row that its source calls safe.

Covers: rows with `label_safe` true whose final answer refuses, by `engine.curation.refusal` or by a judge's annotation
on the final response where the row has one (`row["annotations"][judge]`: a word, or an Annotation).
Does not cover: rows without a label; safe answers of little use.
Default: on: each such row teaches over-refusal. `judge` names the annotation that overrides the words; without a name
it is `refusal_llm`, else `refusal`, as for the column `refusal` of the rows that are kept.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, response
from engine.curation.refusal import JUDGES, judged_refusal, refused


def over_refusal(judge: str = "") -> Filter:
    """`judge`: name of the annotation whose verdict goes first; empty: a model's, else the phrase list's."""
    judges = (judge,) if judge else JUDGES

    def run(row: Row) -> Drop | None:
        if row.get("label_safe") is not True or not response(row):
            return None
        yes, evidence = refused(response(row), judged_refusal(row, judges))
        return Drop("over_refusal", evidence) if yes else None

    return run
