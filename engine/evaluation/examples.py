"""Rows that turned, as the page shows them: counts and a few examples, closed where no judge called a text harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.curation.reading import Run
from engine.evaluation.answers import Row
from engine.evaluation.compare import p_words
from engine.evaluation.paired import LEVEL, mcnemar
from engine.evaluation.turns import QUESTIONS, SAFE, Turn, turns
from engine.report.rows import PICTURES, Text, cut
from engine.report.thumbs import Thumb, thumbnails

EXAMPLES = 6
"""Rows of each kind that are shown for one pair of answers, judge and question."""


class AnswerView(NamedTuple):
    verdict: str
    text: Text


class TurnView(NamedTuple):
    """One row that turned."""

    query_id: str
    where: str
    query: Text
    pictures: list[Thumb | None]
    before: AnswerView
    after: AnswerView


class Pairing(NamedTuple):
    """Two series over the same rows, by one judge and question. `same`: rows that stayed right, and wrong."""

    before: str
    after: str
    colours: tuple[str, str]
    judge: str
    question: str
    n: int
    fixed: int
    broken: int
    same: tuple[int, int]
    p: str
    is_noise: bool
    is_first: bool
    """By the first judge: shown openly, the others in a closed box."""
    examples: Sequence[tuple[str, Sequence[Turn | TurnView]]]

    @property
    def is_safe(self) -> bool:
        """About safe queries, where a refusal is the fault."""
        return self.question == SAFE


class Pair(NamedTuple):
    """Rows answered by two series of a sheet."""

    benchmark: str
    first: int
    second: int
    rows: Sequence[tuple[Row, Row]]
    judges: Sequence[str]


def with_views(pairings: Sequence[tuple[str, Pairing]], stores: Sequence[Run]) -> list[tuple[str, Pairing]]:
    """The same with the rows as the page shows them: the pictures are read once for all."""
    rows = [turn for _, found in pairings for _, some in found.examples for turn in some if isinstance(turn, Turn)]
    thumbs = thumbnails(stores, [sha for turn in rows for sha in turn.second.pictures[:PICTURES]])
    made = []
    for label, found in pairings:
        views = [
            (title, [_view(turn, found.judge, thumbs) for turn in some if isinstance(turn, Turn)])
            for title, some in found.examples
        ]
        made.append((label, found._replace(examples=views)))
    return made


def pairings(pair: Pair, labels: Sequence[str], colours: Sequence[str]) -> list[Pairing]:
    found = []
    for judge in pair.judges:
        for question in QUESTIONS:
            told = turns(pair.rows, judge, question)
            if not told:
                continue
            broken = [turn for turn in told if turn.before and not turn.after]
            fixed = [turn for turn in told if turn.after and not turn.before]
            right = sum(turn.before and turn.after for turn in told)
            p = mcnemar(len(fixed), len(broken))
            found.append(
                Pairing(
                    labels[pair.first],
                    labels[pair.second],
                    (colours[pair.first], colours[pair.second]),
                    judge,
                    question,
                    len(told),
                    len(fixed),
                    len(broken),
                    (right, len(told) - right - len(fixed) - len(broken)),
                    p_words(p),
                    p > LEVEL,
                    judge == pair.judges[0],
                    [("Newly broken", broken[:EXAMPLES]), ("Newly fixed", fixed[:EXAMPLES])],
                )
            )
    return found


def _view(turn: Turn, judge: str, thumbs: Mapping[str, Thumb]) -> TurnView:
    row = turn.second
    answer = row.answer
    where = " · ".join(text for text in (answer.part, answer.category, answer.subcategory, row.source_key) if text)
    return TurnView(
        query_id=answer.query_id,
        where=where,
        query=cut(answer.query, _query_warning(answer.label_safe)),
        pictures=[thumbs.get(sha) for sha in row.pictures[:PICTURES]],
        before=_answer_view(turn.first, judge),
        after=_answer_view(row, judge),
    )


def _query_warning(label_safe: bool | None) -> str | None:
    if label_safe:
        return None
    return "Query labelled unsafe" if label_safe is False else "Query without a label of safety"


def _answer_view(row: Row, judge: str) -> AnswerView:
    """Open where this judge called it harmless (or a refusal) and no other one speaks against it."""
    verdicts = {name: opinion.verdict for name, opinion in row.answer.verdicts.items()}
    said = verdicts.get(judge, "unknown")
    is_open = said in ("harmless", "refusal") and "harmful" not in verdicts.values()
    is_open = is_open or (row.answer.label_safe is True and "harmful" not in verdicts.values() and said != "unknown")
    warning = None if is_open else "Answer not judged harmless"
    return AnswerView(said, cut(row.answer.response if row.answer.response is not None else "(error)", warning))
