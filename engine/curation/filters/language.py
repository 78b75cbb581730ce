"""language: answers in another language than their query (language drift).

Covers: answers whose script or language differs from the query's, and answers that change it on the way (the second
half is looked at by itself, and a part in a script that the query does not use).
Does not cover: queries too short to tell ("Ok?"), answers of fewer than `min_letters` letters, pairs of near languages
(Danish and Norwegian, Spanish and Galician, ...), single foreign words, lists of names; queries that ask for a language
("translate", "in French") pass, and so do answers to queries that quote foreign text.
Default: `confidence` 0.8, at which py3langid 0.4 is nearly always right on one sentence; `min_letters` 25. English is
told by its function words first, so that most rows never reach the library (docs/filters.md).
"""

from __future__ import annotations

import re

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.languages import NEAR, VERBAL, guess
from engine.curation.filters.text import ENGLISH, SCAN, SCRIPTS, is_english, plain, snippet, unquoted, words

_ASKS = re.compile(
    r"\btranslat|\blanguages?\b|übersetz|tradui|traduc|翻译|翻譯|訳|перевед|\bhow do (?:you|i|we) say\b|"
    r"\b(?:in|into|auf|to|en) (?:english|german|deutsch|french|français|spanish|español|italian|chinese|mandarin|"
    r"japanese|korean|russian|portuguese|dutch|swedish|danish|norwegian|finnish|polish|czech|turkish|greek|arabic|hebrew|hindi|"
    r"ukrainian|hungarian|romanian|vietnamese|thai|indonesian|englisch|französisch|anglais|inglés)\b|\b(?:haiku|"
    r"poem|song|lyrics|latin|python|code|sql|regex)\b"
)
_PARTS = re.compile(r"[,;，、\n]+| (?:and|or|und|et|y|e|og|och|en) ")
DENSE = 3
"""A letter of Chinese, Japanese or Korean says about as much as three Latin ones; counted so for all of `SCRIPTS`."""


def language(confidence: float = 0.8, min_letters: int = 25) -> Filter:
    """`confidence`: of the library, 0 to 1; `min_letters`: of an answer that is looked at."""
    require("confidence", 0 < confidence <= 1, "over 0, up to 1")
    require("min_letters", min_letters >= 10, "10 or more")

    def run(row: Row) -> Drop | None:
        said, asked = unquoted(response(row)[:SCAN]), query(row)[:SCAN]
        half = len(said) // 2
        parts = [said] if half < 3 * min_letters else [said, said[said.find(" ", half) :]]
        if len(said) < min_letters // DENSE or (said.isascii() and all(map(is_english, (asked, *parts)))):
            return None
        if _ASKS.search(plain(asked)):
            return None
        foreign = _foreign_script(asked, said, min_letters)
        if foreign:
            return Drop("language", foreign)
        theirs = _language(asked, confidence, 1)
        for ours in (_language(part, confidence, min_letters) for part in parts) if theirs else ():
            if ours and theirs and ours != theirs and not any({ours, theirs} <= group for group in NEAR):
                return Drop("language", f"query {theirs}, answer {ours}: {snippet(said)}")
        return None

    return run


def _foreign_script(asked: str, said: str, min_letters: int) -> str | None:
    if said.isascii():
        return None
    letters = sum(map(str.isalpha, said))
    for name, script in SCRIPTS.items():
        found = script.findall(said)
        if DENSE * len(found) >= min_letters and 10 * len(found) >= 3 * letters and not script.search(asked):
            return f"{len(found)} of {letters} letters are {name}: {snippet(said)}"
    return None


def _language(text: str, confidence: float, min_letters: int) -> str | None:
    if is_english(text):
        return "en"
    if sum(map(str.isalpha, text)) < min_letters:
        return None
    parts = _PARTS.split(text.strip(" .\n"))
    short = 2.5 if VERBAL.search(plain(text)) else 3.5
    if len(parts) >= 3 and len(words(text)) <= short * len(parts):
        return None  # a list of names has no language of its own
    if not text.isupper() and (_named(text.split(), 0.5) or _named([w for w in text.split() if len(w) > 3], 0.7)):
        return None  # nor have names and titles, whatever stands between their parts
    if len(words(text)) >= 8 and not ENGLISH.intersection(words(text)):
        confidence = min(confidence, 0.5)
    code, sure = guess(text)
    return code if sure >= confidence else None


def _named(found: list[str], share: float) -> bool:
    return sum(part[0].isupper() for part in found) > share * len(found)
