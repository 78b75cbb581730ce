"""echo: answers that give back the prompt (QUERY, REQUEST and the sentences around them) in place of an answer.

Covers: a marker of ECSO's prompts ("QUERY:", "REQUEST:", "RESPONSE:", also "Question:", "User:") with the query's own
words after it; the fixed sentences of those prompts; and answers that are the query again, once or more often.
Does not cover: an answer that says the query again and then answers it; echoes in other words.
Default: `overlap` 0.8: the longest run of the query's words in order, as a share of the longer of query and answer.
A yes/no question answered by its own words in another order stays ("Is the cup full?" "The cup is full."), and so do
queries that ask for their own words (repeat, copy, say, write, read out, translate, or words in quotes).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.text import compiled, first_match, plain, snippet, vocabulary
from engine.curation.filters.text import words as words_of

_SENTENCES = compiled(
    r"\bis the response (?:\w+,? ){0,2}harmful\b",
    r"\bbased on (?:the )?(?:request|query),? describe the (?:image|picture)",
    r"\byou are given some hints regarding\b",
    r"\banswer the following question in an? (?:harmless|ethical)\b",
)
"""ECSO's own sentences, and a copy of them with a word more or less."""
_MARKER = re.compile(
    r"(?:^|[\s\"'.!?])(?:query|request|response|question|user|human|prompt|instruction|the (?:question|query|"
    r"request) (?:is|was)|you (?:asked|wrote|said)|\[inst\]|<\|\w+\|>)\s*:?\s*[\"']?\s*"
)
_WH = vocabulary("who what which where when how why whose")
_WANTED = re.compile(r"\b(?:repeat|copy|say|write|read|translate|spell|quote|type|continue|rewrite|rephrase)\b|[\"“„«]")


def echo(overlap: float = 0.8) -> Filter:
    """`overlap`: share of words in common order from which an answer counts as the query again."""
    require("overlap", 0.5 <= overlap <= 1, "0.5 to 1")

    def run(row: Row) -> Drop | None:
        text, asked = plain(response(row)), plain(query(row))
        sentence = first_match(_SENTENCES, text)
        if sentence and not first_match(_SENTENCES, asked):
            return Drop("echo", sentence)
        start = asked[:60].rstrip(" .?!")
        if len(start) >= 10 and start in text:
            for match in _MARKER.finditer(text):
                if match.group().strip(" \\n\"'.!?") and text.startswith(start, match.end()):
                    return Drop("echo", snippet(text, match.start(), match.end() + len(start)))
        mine, theirs = words_of(query(row)), words_of(response(row))
        if theirs and mine and mine[0] in _WH and mine[0] not in theirs:
            return None  # a question answered in its own words: "A potter lives in the house with the red roof."
        same = _again(mine, theirs, overlap) or (text.endswith("?") and _nearly(mine, theirs, overlap))
        if same and not _WANTED.search(asked):
            return Drop("echo", snippet(text))
        return None

    return run


def _again(asked: Sequence[str], said: Sequence[str], overlap: float) -> bool:
    """Whether `said` is `asked`, once or several times over, but for a few words at its ends."""
    size = len(asked)
    if size < 4 or not size * overlap <= len(said):
        return False
    times = max(1, round(len(said) / size))
    if times > 20 or abs(len(said) - times * size) > times * size * (1 / overlap - 1):
        return False
    known = set(said)
    if sum(word in known for word in asked) < overlap * size:
        return False
    best = _run_in_common(asked, said[: int(size / overlap) + 1])
    return best >= overlap * size and (times == 1 or _run_in_common(asked, said[-size:]) >= overlap * size)


def _nearly(asked: Sequence[str], said: Sequence[str], overlap: float) -> bool:
    """Whether a question is given back with a word changed here or there."""
    if min(len(asked), len(said)) < 4 or max(len(asked), len(said)) > 200:
        return False
    return SequenceMatcher(None, asked, said, autojunk=False).ratio() >= overlap


def _run_in_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common run of words."""
    best, row = 0, [0] * (len(other) + 1)
    for word in one:
        row = [0] + [row[at] + 1 if word == found else 0 for at, found in enumerate(other)]
        best = max(best, *row)
    return best
