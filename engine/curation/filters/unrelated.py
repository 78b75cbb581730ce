"""unrelated: eyes-closed answers of some length that share no content word with their query.

A lexical test, so a weak one, and set to be sure rather than complete.
Covers: answers of at least `min_words` content words of which none has a stem in common with the query, nor with
the caption, the direct answer or the source's own answer, which are about the same thing. Where there are both a
caption and a direct answer (real eyes-closed rows have them), half of `min_words` will do, and queries may
point at the picture, since the caption says at what; then answers that speak to the asker or of conduct ("please",
"your", "unkind", "the law") pass: with closed eyes most good answers are of that kind and repeat nothing.
Does not cover: short answers; answers that share a word by chance; a wrong answer that speaks to the asker ("you");
without a caption, queries that point at the picture ("this", "shown here", "he"); queries that ask for something free
(a name, a story, a joke, an idea) or, without a caption, have fewer than two content words; refusals (they may be
about nothing); scripts without spaces; answers in another language (`language` has them).
Default: rows answered with closed eyes, where it is an artefact of the method and where other texts tell what the
row is about; `min_words` 12. A good answer to a direct question may well repeat none of its words, so `open_eyes`
costs healthy rows. Recall on held-out rows is below the bar of the others (docs/filters.md). A judge sees more:
`engine.annotate`.
"""

from __future__ import annotations

import re

from engine.curation.filters.base import Drop, Filter, Row, query, require, response
from engine.curation.filters.text import plain, snippet, vocabulary, words
from engine.curation.refusal import is_refusal

STEM = 4
"""Words are alike if their first four letters are, without endings (three for words of three): coarse on purpose."""
_EMPTY = vocabulary(
    "about above after again all also although always among and another any anyone are around away back because "
    "been before being best better between both but came can cannot come could did does done down during each "
    "either else enough even ever every find first for from gave get give given gives goes going good got great had "
    "has have having help here him his how however into its just keep kind know large last least less let like "
    "little long look made make makes making many may maybe might more most much must need needs never new next not "
    "nothing now off often old once one only other our out over own part people perhaps please put quite rather "
    "really right said same say see seem set she should since small some something soon still such suggest sure "
    "take tell than that the their them then there these they thing things think this those three through time tips "
    "too two under until upon use used using usually very want was way ways well were what when where whether which "
    "while who whole whom whose why will with within without would yes yet you your explain describe write list "
    "plan share leave leaves leaving run runs hold turn turns show shows "
    "advice steps step guide question answer easy simple start person someone day days"
)
_ENDING = re.compile(r"(?<=\w{3})(?:'s|s|es|ies|y|ing|ed|er)$")
_POINTS = re.compile(
    r"\b(?:this|that|these|those|here|it|its|he|she|him|her|his|they|them|their|image|picture|photo|photograph|"
    r"shown|shows|see|seen|depicted|sign|screen|chart|poster|meme|logo|above|below|left|right|same)\b"
)
_FREE = re.compile(
    r"\b(?:names?|story|joke|poem|haiku|riddle|song|ideas?|title|slogan|caption|example|fact|facts|translate|continue|sequence|"
    r"say|sentence|word|words|rhyme|quote|lyrics|code)\b"
)
_FACT = re.compile(r"^(?:which|who|where|when|what)\b")
"""Questions whose answer is a name with its own words around it: three words must be missing, not two."""
_SPEAKS = re.compile(
    r"\b(?:you|yours?|yourself|please|instead(?! of)|let us|let's|others|someone|somebody|everyone|everybody|"
    r"anyone|anybody|another person|do not)\b|(?:^|[.!?:;,] )(?:ask|talk|speak|avoid|consider|try|look|check|"
    r"choose|offer|build|tell|use|keep|put|add|fit|move|take|wash|clean|cover|close|start|plan|wear|bring|store|"
    r"write|invite|describe|practi[sc]e|never|better|rather|simply|just)\b|\b(?:honest|fair|unfair|kind\b|unkind|"
    r"mean\b|hurt|harm|harass|bull(?:y|ied)|cruel|rude|polite|respect|priva|trust|friend|feeling|sorry|apolog|"
    r"wrong|right to|illegal|legal|law\b|laws|crime|criminal|fraud|theft|steal|stole|cheat|lie\b|lies\b|lying|"
    r"danger|risk|safe|unsafe|injur|damag|offens|insult|mock|teas|prank|discriminat|ethic|consent|permission|"
    r"rules?\b|police|compliment|encourag|courag|gentle|decen|shame|blame|frighten|startl|upset|embarrass|nicer|"
    r"responsib)"
)
"""Words of an answer that advises, declines or warns."""
OTHERS = ("caption", "direct_response", "reference")
"""Texts about the same thing. One word in common is enough: it may be chance, but a healthy row lost is worse."""


def unrelated(min_words: int = 12, open_eyes: bool = False) -> Filter:
    """`min_words`: content words that an answer must have to be looked at; `open_eyes`: look at direct answers too."""
    require("min_words", min_words >= 5, "5 or more")

    def run(row: Row) -> Drop | None:
        if len(response(row)) < 5 * min_words or not (open_eyes or row.get("eyes_closed")):
            return None
        asked, question, found = _stems(query(row)), plain(query(row)), _content(response(row))
        said, bare = set(found), len(asked) < (3 if _FACT.search(question) else 2) or bool(_POINTS.search(question))
        if said & asked or any(said & _stems(row.get(other) or "") for other in OTHERS):
            return None
        if bare or len(found) < min_words or _FREE.search(question):  # too little to go by, if the row tells no more
            told = bool(row.get("caption")) and bool(row.get("direct_response"))
            if not told or 2 * len(found) < min_words or _SPEAKS.search(plain(response(row))):
                return None
        if is_refusal(response(row)):
            return None
        return Drop("unrelated", f"no word of {', '.join(sorted(asked))}: {snippet(response(row))}")

    return run


def _content(text: str) -> list[str]:
    kept = (word for word in words(text) if len(word) > 2 and word not in _EMPTY)
    return [_ENDING.sub("", word)[:STEM] for word in kept]


def _stems(text: str) -> set[str]:
    return set(_content(text))
