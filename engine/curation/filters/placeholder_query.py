"""placeholder_query: queries that stand for no question (VLGuard's training set has 15: 14 "N/A" and one "NA").

Covers: empty queries, punctuation only, "N/A", "none", "null", "TODO" and their like as the whole query, unfilled
slots ("{question}", "[insert question here]", "<image>"), and lorem ipsum.
Does not cover: real words that ask nothing ("test", "hello"), and placeholders in other languages.
Default: on: an answer to "N/A" is about the picture alone, and teaches what no user asks.
"""

from __future__ import annotations

import re

from engine.curation.filters.base import Drop, Filter, Row, query
from engine.curation.filters.text import snippet, vocabulary

_WORDS = vocabulary(
    "na none null nil nan nat undefined unknown todo tbd tba tbc fixme xxx xxxx placeholder empty blank missing "
    "unset notapplicable notavailable notprovided notspecified noquery noquestion noinstruction noprompt noprompts "
    "unspecified unavailable unanswered unknownquestion missingquestion emptyquestion blankquestion yourquestion "
    "nodata novalue notext nothing dummy query question prompt instruction"
)
_SLOT = re.compile(
    r"\s*(?:\{\{?[\w .:-]{0,60}\}?\}|\[\[?[\w ,.:'/-]{0,60}\]?\]|</?[\w ,.:'|/-]{0,60}>|\([\w ,.:'/-]{0,60}\)|%s|"
    r"\$\{?\w+\}?|#(?:REF|N/A|VALUE|NAME)[!?]?)\s*[.!?]*\s*"
)
_INSERT = re.compile(
    r"\s*(?:(?:your|the|my) )?(?:question|query|prompt|text) (?:goes )?here\s*[.!]*\s*$|"
    r"\s*[\[({<]?\s*(?:insert|enter|type|put|write|add) (?:\w+ )?(?:question|query|prompt|text|instruction)\b"
)
_BRACKETED = re.compile(
    r"\b(?:query|question|prompt|text|instruction|input|image|picture|empty|none|blank|n/a|null|todo)\b"
)
_NONE = re.compile(
    r"\W*(?:no|missing|empty) (?:query|question|prompt|text|input|instruction|data)(?: (?:was|is|were))?(?: (?:"
    r"provided|given|available|found|entered|specified|supplied|here|yet))?\W*"
)
_CODE = re.compile(r"[{<$%#]")
_NOTE = re.compile(r"(?:todo|tbd|tba|fixme|placeholder)\s*[:(–-]")


def placeholder_query() -> Filter:
    def run(row: Row) -> Drop | None:
        text = query(row)
        if len(text) > 200 and "lorem ipsum" not in text[:40].lower():
            return None
        lowered = text.strip().lower()
        letters = "".join(filter(str.isalnum, lowered))
        if not letters or (letters in _WORDS and _bare(lowered)) or lowered.startswith("lorem ipsum"):
            return Drop("placeholder_query", snippet(text) or "no text")
        slot = _SLOT.fullmatch(text) and (_CODE.match(lowered) or _BRACKETED.search(lowered))
        if slot or _INSERT.match(lowered) or _NOTE.match(lowered) or _NONE.fullmatch(lowered):
            return Drop("placeholder_query", snippet(text))
        return None

    return run


def _bare(lowered: str) -> bool:
    """A one-word query with a question mark ("Nothing?") is one; "N/A?" and "???" are not."""
    return not (lowered.endswith("?") and lowered[:-1].isalpha() and lowered[:-1] != "na")
