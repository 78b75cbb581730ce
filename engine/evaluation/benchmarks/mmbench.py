"""MMBench by CircularEval: an item counts only if the letter is right in every rotation of its options.

The letter is found in the reply by rule: the one option letter that stands by itself, else the one option whose text
the reply holds. A reply with neither is `unparsed`, and wrong: no model is asked to guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, grouped, parts_of, rate_metric

MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}\"'`", " "))
ARTICLE = 3
"""Words from which on a bare "A" may be an article."""
CHOOSES = re.compile(r"(?:^|\s)\(?A[.):,]|:\s*A\b|\b(?i:is|option|answer|choice)[^\w.!?]+A\b|\bA\W*$")
"""Where an "A" is a letter: with a mark behind it, after a word that announces a choice, or last."""


@dataclass(frozen=True, slots=True)
class MMBench:
    """Accuracy over items; by ability (`l2-category`) and by its parts (`category`)."""

    name: str = "mmbench"
    kind: Kind = "utility"
    source_note: str = "MMBench, arXiv 2307.06281, Apache-2.0; CircularEval, letters found by rule"
    judges: tuple[str, ...] = ()

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        splits = {"circular": "circular", "vanilla": "vanilla"}
        return parts_of(self.name, self.name, path, options, splits, 1024, ("circular",))

    def judge_for(self, answer_category: str | None) -> str | None:  # noqa: ARG002
        return None

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        found: list[Metric] = []
        for part, rows in grouped(answers, lambda answer: answer.part).items():
            groups = grouped(rows, lambda answer: str(answer.extra.get("group", answer.query_id)))
            items = [some for some in groups.values() if _whole(some)]
            of: dict[str, list[Sequence[Answer]]] = {}
            for some in items:
                for name in {some[0].category, some[0].subcategory} - {None, ALL}:
                    of.setdefault(str(name), []).append(some)
            found.append(_accuracy(ALL, part, items))
            found += [_accuracy(name, part, some) for name, some in sorted(of.items())]
        return found


def option(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter that a reply chooses, or None."""
    return letter_in(reply, options) or text_in(reply, options)


def letter_in(reply: str, options: Mapping[str, str]) -> str | None:
    """The only option letter that stands by itself. An "A" that nothing in the sentence calls a
    choice (CHOOSES) is an article, and chooses nothing."""
    words = reply.translate(MARKS).split()
    found = [letter for letter in options if letter in words]
    if len(found) != 1:
        return None
    if found == ["A"] and len(words) > ARTICLE and not CHOOSES.search(reply):
        return None
    return found[0]


def text_in(reply: str, options: Mapping[str, str]) -> str | None:
    """The only option whose text the reply holds."""
    said = reply.lower()
    found = [letter for letter, text in options.items() if text.strip() and text.strip().lower() in said]
    return found[0] if len(found) == 1 else None


def chosen(answer: Answer) -> str | None:
    options = answer.extra.get("options")
    if answer.response is None or not isinstance(options, Mapping):
        return None
    return option(answer.response, options)


def is_right(answer: Answer) -> bool:
    letter = chosen(answer)
    return letter is not None and letter == answer.extra.get("answer")


def _whole(rows: Sequence[Answer]) -> bool:
    """Whether all rotations were asked; one that `--limit` cut apart is left out."""
    return len(rows) >= int(rows[0].extra.get("rotations", 1))


def _accuracy(group: str, part: str, items: Sequence[Sequence[Answer]]) -> Metric:
    """`n` counts items; `unparsed` and `errors` those with at least one such row."""
    hits = sum(all(map(is_right, rows)) for rows in items)
    errors = sum(any(row.response is None for row in rows) for rows in items)
    unparsed = sum(any(row.response is not None and chosen(row) is None for row in rows) for rows in items)
    return rate_metric("accuracy", group, part, hits, len(items), unparsed=unparsed, errors=errors)


def benchmark() -> MMBench:
    return MMBench()
