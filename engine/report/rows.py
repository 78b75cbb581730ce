"""One transcript as the page shows it: step by step, and closed wherever no judge called a text harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from engine.report import words
from engine.report.thumbs import Thumb

Row = dict[str, Any]
TEXT = 1200
"""Characters of one text that are shown; the data set has the rest."""
STEPS = 16
"""Steps of one row that are shown: four attempts to close the eyes are 14."""
PICTURES = 4
"""Pictures of one row that are shown."""
TITLES = {
    "answer": "Direct answer",
    "tell": "Judges its own answer",
    "caption": "Picture turned into text",
    "safe_answer": "Answers with eyes closed",
    "retell": "Judges again",
    "detect": "A detector judges the answer",
    "detoxify": "A detoxifier rewrites the answer",
    "redetect": "The detector judges again",
    "transcribe": "Text in the picture read out",
    "post_check": "A reward model looks at the answer",
    "pre_check": "CLIP looks at the picture",
    "sentence": "One candidate for the next sentence",
    "reward": "The reward of the answer with it",
}
JUDGING = ("tell", "retell", "detect", "redetect")
AGAIN = ("retell", "redetect")


class Text(NamedTuple):
    """`warning` is None where the text stands open, else what its closed box is called."""

    text: str
    more: int
    warning: str | None


class StepView(NamedTuple):
    name: str
    title: str
    text: Text
    verdict: str | None
    p: float | None
    facts: str


class RowView(NamedTuple):
    """One row of the page. `label`: what the source says of the query."""

    query_id: str
    source_key: str
    category: str
    label: str
    query: Text
    pictures: list[Thumb | None]
    more_pictures: int
    steps: list[StepView]
    more_steps: int
    direct_verdict: str | None
    final_verdict: str
    p: float | None
    final_p: float | None
    error: str | None
    outcome: list[str]


def cut(text: str | None, warning: str | None = None, limit: int = TEXT) -> Text:
    """The text, shortened to what the page shows."""
    whole = text or ""
    return Text(whole[:limit], max(0, len(whole) - limit), warning)


def query_warning(row: Mapping[str, Any]) -> str | None:
    """None for a query that its source calls safe, or whose direct answer was harmless and nothing speaks against."""
    if row["label_safe"] is False:
        return "Query labelled unsafe"
    if row["label_safe"] or row["direct_verdict"] == "harmless":
        return None
    return "Query without a label of safety"


def answer_warning(verdict: str | None) -> str | None:
    """None for an answer that was judged harmless."""
    known = {"harmless": None, "harmful": "Answer judged harmful", "unknown": "Answer with an unreadable verdict"}
    return known.get(verdict or "", "Answer that was not judged")


def row_view(row: Row, thumbs: Mapping[str, Thumb], outcome: Sequence[str]) -> RowView:
    """The view of one whole transcript."""
    shown = row["picture_sha256"][:PICTURES]
    return RowView(
        query_id=row["query_id"],
        source_key=words.short(row["source_key"]),
        category=words.short(row["category"] or "no category"),
        label={True: "safe", False: "unsafe", None: "not labelled"}[row["label_safe"]],
        query=cut(row["query"], query_warning(row)),
        pictures=[thumbs.get(sha) for sha in shown],
        more_pictures=len(row["picture_sha256"]) - len(shown),
        steps=[_step(row, step) for step in row["steps"][:STEPS]],
        more_steps=max(0, len(row["steps"]) - STEPS),
        direct_verdict=row["direct_verdict"],
        final_verdict=row["final_verdict"],
        p=row["p_harmful"],
        final_p=row["final_p_harmful"],
        error=_error(row),
        outcome=list(outcome),
    )


def _error(row: Row) -> str | None:
    if row["error_stage"] is None:
        return None
    return cut(f"{row['error_stage']}: {row['error_type']}: {row['error_message']}").text


def _step(row: Row, step: Row) -> StepView:
    return StepView(
        name=words.short(step["name"]),
        title=TITLES.get(step["name"]) or words.short(step["name"]),
        text=cut(step["text"].strip(), _step_warning(row, step)),
        verdict=step["verdict"],
        p=step["p_harmful"],
        facts=_facts(step),
    )


def _step_warning(row: Row, step: Row) -> str | None:
    """A judge's yes or no stands open; an answer opens by its verdict, a caption with its query."""
    name = step["name"]
    if name in JUDGING:
        return None if len(step["text"]) <= 12 else "Text of the judgement"
    if name == "caption":
        return query_warning(row) and "Description of the picture"
    if name == "answer":
        return answer_warning(row["direct_verdict"])
    judged = [each["verdict"] for each in row["steps"] if each["name"] in AGAIN and each["attempt"] == step["attempt"]]
    return answer_warning(judged[0] if judged else step["verdict"])


def _facts(step: Row) -> str:
    parts = ["with the picture" if step["with_pictures"] else "without the picture"]
    if step["attempt"]:
        parts.append(f"attempt {step['attempt'] + 1}")
    if step["completion_tokens"] is not None:
        parts.append(words.plural(step["completion_tokens"], "token"))
    if step["name"] not in JUDGING:
        parts.append(f"ended: {step['finish_reason']}")
    return " · ".join(parts)
