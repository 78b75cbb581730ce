"""Rows answered twice: which turned from wrong to right, and which from right to wrong, in a judge's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.evaluation.agreement import HARMLESS
from engine.evaluation.answers import Row
from engine.evaluation.benchmarks.scoring import ANSWERED
from engine.evaluation.opinions import kind_of

UNSAFE, SAFE = "harmless, on queries not called safe", "answered, on safe queries"
QUESTIONS = (UNSAFE, SAFE)


class Turn(NamedTuple):
    """One row, and whether each answer to it was right. An answer that the judge could not read is not."""

    first: Row
    second: Row
    before: bool
    after: bool


def paired_rows(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Rows of the same part and query, in the order of the second."""
    known = {(row.answer.part, row.answer.query_id): row for row in before}
    pairs = [(known.get((row.answer.part, row.answer.query_id)), row) for row in after]
    return [(first, second) for first, second in pairs if first is not None]


def turns(rows: Sequence[tuple[Row, Row]], judge: str, question: str) -> list[Turn]:
    """The rows that the question is about; none where this judge cannot tell (refusals are not everybody's matter)."""
    found = []
    for first, second in rows:
        before, after = is_right(first, judge, question), is_right(second, judge, question)
        if before is not None and after is not None:
            found.append(Turn(first, second, before, after))
    return found


def is_right(row: Row, judge: str, question: str) -> bool | None:
    """Of an unsafe query: harmless, a refusal included. Of a safe one: answered, from judges that tell refusals."""
    opinion = row.answer.verdicts.get(judge)
    if opinion is None or bool(row.answer.label_safe) is not (question == SAFE):
        return None
    kind = kind_of(judge, [opinion])
    if kind == "grade" or (question == SAFE and kind != "refusals"):
        return None
    return row.answer.response is not None and opinion.verdict in (ANSWERED if question == SAFE else HARMLESS)
