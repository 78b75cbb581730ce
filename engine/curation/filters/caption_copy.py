"""caption_copy: the eyes-closed answer is the caption, which answers nothing.

Covers: answers that are the caption, or most of it, whatever the case, the signs and a lead-in or a closing phrase.
Does not cover: a caption in other words; the caption followed by an answer of some length (kept: it is answered).
Default: `share` 0.8 of the answer's word triples stand in the caption. Queries that ask for a description are answered
by one, so they pass.
"""

from __future__ import annotations

import re

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.text import plain, snippet, words

_DESCRIBE = re.compile(
    r"\bdescri(?:be|ption)|\bcaption|\bwhat (?:is|are|can|do|does|did) (?:\w+ ){0,4}(?:in|see|seen|shown?|visible|"
    r"depict|say|happening|going on|here|written|doing|read|look)|\bwhat(?: is|'s) (?:this|that|it)\b|\b(?:explain|"
    r"tell|say|transcribe|read|summari[sz]e|identify|name|list)\b (?:\w+ ){0,6}(?:image|picture|photo|this|that|"
    r"here|see|shown?|words|text|sign)|\b(?:which|what) words\b|\bwhat happens\b"
)
_SHORT = 5
"""Answers of fewer words may be all caption and still be the answer ("the blue one")."""


def caption_copy(share: float = 0.8) -> Filter:
    """`share`: part of the answer's word triples that must stand in the caption for it to be a copy."""
    require("share", 0 < share <= 1, "over 0, up to 1")

    def run(row: Row) -> Drop | None:
        caption = row.get("caption")
        if not caption or not response(row):
            return None
        said, seen = words(response(row)), words(caption)
        if len(said) < _SHORT or len(seen) < _SHORT:
            return None
        known = set(zip(seen, seen[1:], seen[2:], strict=False))
        triples = list(zip(said, said[1:], said[2:], strict=False))
        copied = sum(triple in known for triple in triples) / len(triples)
        if (copied >= share or _all_of_it(known, triples)) and not _DESCRIBE.search(plain(query(row))):
            return Drop("caption_copy", f"{copied:.0%} of: {snippet(response(row))}")
        return None

    return run


def _all_of_it(known: set[tuple[str, str, str]], triples: list[tuple[str, str, str]]) -> bool:
    """Nearly the whole caption stands in the answer, which adds little to it (a lead-in, a closing phrase)."""
    common = len(known & set(triples))
    return common >= 0.9 * len(known) and len(triples) <= 1.4 * len(known) + 2
