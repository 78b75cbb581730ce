"""One way to look at text, shared by all filters and refusal detection.

Nothing here raises on text, however broken; at most the first `SCAN` characters are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

SCAN = 20_000
"""Characters of a text that are looked at. Longer answers are dropped by `length` anyway (its default is 10,000)."""

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " "})
_SHORT = (
    (re.compile(r"\bcan not\b|\bcan't\b|\bcant\b"), "cannot"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(i)'m\b"), r"\1 am"),
    (re.compile(r"\b(i|you|we|they)'ve\b"), r"\1 have"),
    (re.compile(r"\b(i|you|he|she|it|we|they)'ll\b"), r"\1 will"),
    (re.compile(r"\b(i|you|he|she|it|we|they)'d\b"), r"\1 would"),
    (re.compile(r"\b(you|we|they)'re\b"), r"\1 are"),
    (re.compile(r"\b(it|that|there|here|what|he|she)'s\b"), r"\1 is"),
)
QUOTED = re.compile(r'"[^"]{1,300}"|[\u201c\u201e\u201d][^"\u201c\u201d]{1,300}["\u201c\u201d]|«[^»]{1,300}»')
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")


def vocabulary(text: str) -> frozenset[str]:
    """The words of a list written as a text."""
    return frozenset(text.split())


ENGLISH = vocabulary(
    "the and is are were it its this that these those i you he she they my your his her their with for by from been "
    "does did have has what which who how why when where can could would should will if then there here but than "
    "into about them some each more very please to of at be not"
)
"""Function words of English that are rare in its neighbours ("in", "an", "was", "so" are not)."""
_RANGES = {
    "kana": "\u3040-\u30ff",
    "han": "\u4e00-\u9fff\u3400-\u4dbf",
    "hangul": "\uac00-\ud7af",
    "greek": "\u0370-\u03ff",
    "cyrillic": "\u0400-\u04ff",
    "arabic": "\u0600-\u06ff",
    "hebrew": "\u0590-\u05ff",
    "indic": "\u0900-\u0dff",
    "thai": "\u0e00-\u0e7f",
}
SCRIPTS = {name: re.compile(f"[{letters}]") for name, letters in _RANGES.items()}


@lru_cache(maxsize=256)
def plain(text: str) -> str:
    """Lower case, straight quotes, single spaces, contractions written out ("I can't" -> "i cannot")."""
    text = " ".join(text[:SCAN].translate(_QUOTES).lower().split())
    if "'" in text or "can not" in text:
        for pattern, whole in _SHORT:
            text = pattern.sub(whole, text)
    return text


@lru_cache(maxsize=256)
def words(text: str) -> tuple[str, ...]:
    """The words of `plain(text)`; a run of a script without spaces is one word."""
    return tuple(_WORD.findall(plain(text)))


def unquoted(text: str) -> str:
    """`text` without what stands in double quotes, which is somebody else's; unchanged where nothing else is left."""
    rest = QUOTED.sub('""', text)
    left = "".join(filter(str.isalpha, rest)).lower()
    return text if left in ("", "answer", "response", "reply", "assistant") else rest


def snippet(text: str, start: int = 0, end: int | None = None, width: int = 160) -> str:
    """A short, printable piece of `text` around [start, end), always encodable as UTF-8."""
    end = len(text) if end is None else end
    start = max(0, min(start, end) - 20)
    piece = " ".join(text[start : min(end + 20, start + width)].split())
    return piece.encode("utf-8", "replace").decode()


def first_match(patterns: Iterable[re.Pattern[str]], text: str) -> str | None:
    """The place in `text` where the first pattern that matches does, as a snippet."""
    for pattern in patterns:
        match = pattern.search(text)
        if match:
            return snippet(text, match.start(), match.end())
    return None


def compiled(*patterns: str) -> tuple[re.Pattern[str], ...]:
    """Patterns written with spaces as in the text: verbose mode is off, so that they read like sentences."""
    return tuple(re.compile(pattern) for pattern in patterns)


def is_english(text: str) -> bool:
    """At least two different function words, and a seventh of all words: enough to be sure of English."""
    found = words(text)
    hits = [word for word in found if word in ENGLISH]
    return len(set(hits)) >= 2 and 7 * len(hits) >= len(found)
