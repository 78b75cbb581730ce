"""caption_copy: the eyes-closed answer is the caption, which answers nothing.

Covers: answers that are the caption, or most of it, whatever the case, the signs, the tense, and a lead-in or a
closing phrase.
Does not cover: a caption in other words; the caption followed by an answer of some length (kept: it is answered).
Default: `share` 0.8 of the answer's word triples stand in the caption. Queries that ask for a description are answered
by one, so they pass, and so does a fact that is asked for in the caption's words ("Who is on the ladder?").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.text import plain, snippet, vocabulary, words

_DESCRIBE = re.compile(
    r"\bdescri(?:be|ption)|\bcaption|\bwhat (?:is|are|can|do|does|did) (?:\w+ ){0,4}(?:in|see|seen|shown?|visible|"
    r"depict|say|happening|going on|here|written|doing|read|look)|\bwhat(?: is|'s) (?:this|that|it)\b|\b(?:explain|"
    r"tell|say|transcribe|read|summari[sz]e|identify|name|list)\b (?:\w+ ){0,6}(?:image|picture|photo|this|that|"
    r"here|see|shown?|words|text|sign)|\b(?:which|what) words\b|\bwhat happens\b|\balt(?:ernative)? text\b"
)
_FACT = re.compile(r"^(?:and )?(?:who|what|where|which|how (?:many|old|tall|long|big))\b")
_EMPTY = vocabulary(
    "a an the and or of is are was were be being there this that it its in on at to with image picture photo shows "
    "showing show depicts depicting caption answer sure"
)
_WEAK = vocabulary("who what where which how many old tall long big does do did has have")
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e)$")
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
        same = copied >= share or _all_of_it(known, triples) or _reworded(seen, said, share)
        if same and not _asked_for(row, seen):
            return Drop("caption_copy", f"{copied:.0%} of: {snippet(response(row))}")
        return None

    return run


def _asked_for(row: Row, seen: tuple[str, ...]) -> bool:
    """The query asks for a description, or for a fact and in the caption's own words ("What is on the table?")."""
    asked = plain(query(row))
    if _DESCRIBE.search(asked):
        return True
    about = set(_stems(word for word in words(query(row)) if word not in _WEAK))
    return bool(about) and bool(_FACT.search(asked)) and about <= set(_stems(seen))


def _stems(found: Iterable[str]) -> list[str]:
    kept = (_ENDING.sub("", word) for word in found if word not in _EMPTY)
    return [word[:-1] if len(word) > 3 and word[-1] == word[-2] else word for word in kept]


def _reworded(seen: tuple[str, ...], said: tuple[str, ...], share: float) -> bool:
    """The caption's content words in their order and hardly any other, as in "is standing" for "stands"."""
    one, other = _stems(seen), _stems(said)
    if min(len(one), len(other)) < _SHORT or max(len(one), len(other)) > 300:
        return False
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    common = sum(block.size for block in blocks)
    return common >= max(share, 0.85) * max(len(one), len(other))


def _all_of_it(known: set[tuple[str, str, str]], triples: list[tuple[str, str, str]]) -> bool:
    """Nearly the whole caption stands in the answer, which adds little to it (a lead-in, a closing phrase)."""
    common = len(known & set(triples))
    return common >= 0.9 * len(known) and len(triples) <= 1.4 * len(known) + 2
