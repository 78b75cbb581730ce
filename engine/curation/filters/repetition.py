"""repetition: answers that loop, as greedy decoding does when it gets stuck.

Covers: one unit (a word, a phrase, a line, some characters) said again and again without a break, and the same
sentence or line several times anywhere in the answer.
Does not cover: the same thought in other words; a loop that starts beyond the first 20,000 characters.
Default: `times` 4 for sentences, lines and phrases (5 for pairs of words, 8 for single words, 3 for sentences of eight
words and more), above what songs, lists and emphasis need. Unbroken characters count from `run` 20 on; digits and lines
of one sign (rules, table borders) do not.
"""

from __future__ import annotations

import re
from collections import Counter
from operator import eq

from engine.curation.filters.base import Drop, Filter, Row, require, response
from engine.curation.filters.text import SCAN, plain, snippet

_SENTENCE = re.compile(r"[.!?。！？]+(?:\s+|$)|\n+")
_NUMBER = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s*")
_RULE = re.compile(r"([-=_*~#+|^─═])\1{3,200}(?!\1)|\.{4,}\s*\d")
"""Rules, borders of tables, leaders of a contents page."""
_CHARACTERS = re.compile(r"([^\d\s])\1{7,}|([^\W\d]{2,6}?)\2{5,}")
_TOKEN = re.compile(r"\w+(?:'\w+)*|[^\w\s]")
LONGEST = 16
"""Words and signs of the longest phrase whose loops are looked for."""


def repetition(times: int = 4, run: int = 20) -> Filter:
    """`times`: how often a sentence or line may not stand; `run`: characters of an unbroken character loop."""
    require("times", times >= 2, "2 or more")
    require("run", run >= 8, "8 or more")

    def check(row: Row) -> Drop | None:
        text = response(row)[:SCAN]
        if len(text) < run:
            return None
        tokens = _TOKEN.findall(plain(text))
        # Whatever is said again `times` times has each of its words as often: most answers end here.
        found = None
        if tokens and max(Counter(tokens).values()) >= times - 1:
            found = _sentence(text, times) or _phrase(tokens, times)
        if not found and max(map(len, text.split()), default=0) >= run:
            found = _characters(text, run)
        return Drop("repetition", snippet(found)) if found else None

    return check


def _sentence(text: str, times: int) -> str | None:
    """A sentence or line that stands `times` times; from three words on, or fewer where it fills half of the answer."""
    parts = [_NUMBER.sub("", part).strip(" ,;:*-").lower() for part in _SENTENCE.split(text)]
    parts = [part for part in parts if part and not part.isdigit()]  # "1." of a list is no sentence
    if len(set(parts)) == len(parts):
        return None
    for part, count in Counter(parts).most_common():
        if count < times - 1:
            break
        long = part.count(" ") >= 2
        if (count >= times and (long or 2 * count > len(parts))) or (
            long and part.count(" ") >= 7 and count >= times - 1
        ):
            return f"{count} × {part}"
    return None


def _phrase(found: list[str], times: int) -> str | None:
    """A phrase that follows itself `times` times (single words and pairs more often). Signs count as words, so that
    "la la la, la la la" is no loop of six; phrases without a letter (rows of a table, zeros) pass."""
    for size in range(1, LONGEST + 1):
        needed = size * ({1: 2 * times, 2: times + 1}.get(size, times) - 1)
        needed -= size // 2 if size > 3 else 0  # the last round is often cut short
        if len(found) < needed + size:
            break
        # 1 where a word equals the one `size` words before it: a loop is a long run of ones.
        at = bytes(map(eq, found[size:], found)).find(b"\x01" * needed)
        if at >= 0 and any(map(str.isalpha, found[at : at + size])):
            return " ".join(found[at : at + needed + size])
    return None


def _characters(text: str, run: int) -> str | None:
    bare = _RULE.sub("", text)
    return next((match.group() for match in _CHARACTERS.finditer(bare) if len(match.group()) >= run), None)
