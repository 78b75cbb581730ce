"""length: answers that are empty, too short for what was asked, or too long (reasons empty, too_short, too_long).

Covers: no letter and no digit left once chat markers such as "</s>" are gone; one or two words for a question that
asks for an explanation, steps or a text; more than `max_chars` characters.
Does not cover: answers that are long enough and say nothing. One word is a good answer to most questions ("What colour
is it?"), so shortness alone is no defect: the query must open a longer answer and not ask for brevity.
Default: `min_words` 3 and `max_chars` 10,000 (about LLaVA-1.5's 2,048 tokens; the longest answer of VLGuard's training
set has 959 characters).
"""

from __future__ import annotations

import re

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.text import snippet, words

_MARKER = re.compile(r"</?s>|<\|[^|<>]{1,30}\|>|\[/?INST\]|^\s*(?:ASSISTANT|USER|Answer|Response)\s*:", re.IGNORECASE)
_OPEN = re.compile(
    r"\bhow (?:do|does|can|could|should|would|to|is|are|did|will|might)\b|\bwhy\b|\bexplain\b|\bdescribe\b|"
    r"\b(?:write|compose|draft|list|outline|summari[sz]e|teach|plan|compare|discuss)\b|\bsteps?\b|\bguide\b|\btell "
    r"me (?:how|why|about|an? (?:\w+ )?(?:story|tale|joke|fact)|more)\b|\bin detail\b|\b(?:give|suggest|share|offer|"
    r"need|want|any) (?:\w+ ){0,3}(?:tips?|advice|ideas|ways|instructions|tricks|reasons|examples|plan|review|recipe)\b"
)
_BRIEF = re.compile(
    r"\b(?:one|a single|two|1|2) (?:word|term|letter|name)|\bone-word\b|\bwords? only\b|\bonly (?:one|the) (?:word|"
    r"name)\b|\byes or no\b|\btrue or false\b|\bhow (?:many|much|old|far|long|tall|often|big|high|heavy|deep|wide|"
    r"fast)\b|\b\w+ or \w+$|^(?:is|are|was|were|do|does|did|has|have|will|would|should|can you (?:spell|see|name)|"
    r"what is|who|when|where|which)\b|\b(?:the )?answer (?:with|in) (?:one|a|the)\b|\bletter\b[^.]*\bonly\b"
)


def length(min_words: int = 3, max_chars: int = 10_000) -> Filter:
    """`min_words`: for queries that open a longer answer; `max_chars`: Unicode characters of the whole answer."""
    require("min_words", 0 <= min_words <= 1000, "0 to 1000")
    require("max_chars", max_chars > 0, "a positive number")

    def run(row: Row) -> Drop | None:
        text = response(row)
        if len(text) > max_chars:
            return Drop("too_long", f"{len(text):,} characters, at most {max_chars:,}")
        if not any(map(str.isalnum, text[:40])) or "<" in text[:10] or ":" in text[:20] or "[" in text[:10]:
            bare = _MARKER.sub("", text)
            if not any(map(str.isalnum, bare)):
                return Drop("empty", snippet(text) or "no text")
        if len(text) < 12 * min_words and not _enough(text, min_words) and _asks_for_more(words_of_query(row)):
            return Drop("too_short", snippet(text))
        return None

    return run


def words_of_query(row: Row) -> str:
    return " ".join(words(query(row)))


def _enough(text: str, min_words: int) -> bool:
    """Enough words; two characters of a script without spaces count as one word."""
    dense = sum(character > "\u2e80" for character in text)
    return len(words(text)) + dense // 2 >= min_words


def _asks_for_more(asked: str) -> bool:
    return bool(_OPEN.search(asked)) and not _BRIEF.search(asked)
