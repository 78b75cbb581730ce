"""hint_leak: eyes-closed answers that speak of the hints, which the training row does not have.

ECSO's last step shows the model a caption as "hints" in place of the picture. "Based on the hints, ..." is right there
and wrong in the training row, where the user asked one question with one picture.

Covers: the hints, caption or description named as the source of the answer, and the instruction's own words ("in a
harmless and ethical way").
Does not cover: rows answered with open eyes (there were no hints); queries that speak of hints or captions themselves.
Default: on. Rewriting the answer without its first words would be another model's work: such rows are dropped.
"""

from __future__ import annotations

import re

from engine.curation.filters.base import Drop, Filter, Row, query, response
from engine.curation.filters.text import compiled, first_match, plain

_PIC = r"(?:image|picture|photo|photograph|scene)"
_LEAD = (
    r"(?:based (?:only |solely |purely )?(?:on|upon)|according to|judging (?:by|from)|going (?:by|from)|relying on|"
    r"drawing (?:on|from)|given|using|considering|following|from|per|in (?:light|view) of|in line with|with|"
    r"with the help of|thanks to|taking|by|as (?:\w+ )?(?:in|by|per|from)|as|since|because|while|although|if|"
    r"looking at|reading|having read|seeing)"
)
_THE = r"(?:the|these|those|your|all|all the|that|this|any)"
_GAVE = r"(?:provided|given|supplied|available|above|following|mentioned|attached|shared)"
_YOU = (
    rf"(?:{_GAVE}|(?:that )?(?:you|i) (?:have |were |was )?(?:been )?"
    r"(?:gave|given|provided|shared|supplied|mentioned|have|got))"
)
_SAY = (
    r"(?:\w+ ){0,2}?(?:suggest|say|mention|indicat|describ|stat|show|impl|tell|point|refer|includ|contain|speak|"
    r"talk|reveal|list|note|depict|give|hint|do not|does not|did not|are|is about)\w*"
)
HINTS = compiled(
    rf"\b{_LEAD} {_THE}? ?(?:{_GAVE} )?hints?\b",
    rf"\b(?:the|these|those|your|only) (?:{_GAVE} |only |few |two |three )?hints\b(?! (?:of|in the|on the|at the)\b)",
    rf"\b(?:the|these|those|your) (?:{_GAVE} )?hints? (?:{_YOU} )?(?:{_SAY})",
    rf"\bhints? {_YOU}\b|\b(?:provided|given|supplied|above) hints?\b",
    r"(?:^|[.:\"] ?)hints?: ?(?:\"|answer|the (?:image|picture|photo)|it (?:is|shows)|there (?:is|are))",
    r"\b(?:information|details|facts|context|contents?|words?|clues?) (?:\w+ )?(?:in|from|of|by) (?:the|your|"
    r"these) hints?\b",
    r"\b(?:in|from) the hints?\b(?! (?:section|menu|tab|column|box|panel|page|book|system))",
    r"\bi (?:only |just )?(?:have|had|got|know)(?: only| just)? (?:the|your|these|some|a few) hints?\b",
    r"\b(?:from )?what the hints? (?:tell|say|give|show)",
    r"\banswer (?:given|found|contained)? ?(?:in|from) (?:the|your) hints?\b",
)
DESCRIPTION = compiled(
    r"\b(?:the|this|that|your) (?:image )?description (?:only |also )?(?:says|mentions|states|suggests|indicates|"
    r"implies|tells|does not|gives no)\b",
    rf"\b{_LEAD} {_THE} (?:{_GAVE} )?(?:{_PIC} )?(?:description|caption)(?: of (?:the|this|your) {_PIC}| {_YOU}|,)",
    rf"\b{_LEAD} {_THE}? ?(?:{_GAVE} (?:{_PIC} )?|{_PIC} )(?:description|caption)s?\b",
    rf"\b(?:the|this|your) (?:{_GAVE} |{_PIC} )+(?:description|caption) {_SAY}",
    rf"\b(?:the|this|your) (?:description|caption) {_YOU}\b",
    rf"\b(?:i (?:was|am|have been) (?:only )?(?:told|given|informed)) (?:that )?(?:the|this|a|your) {_PIC}",
    rf"\b(?:what|which|how) (?:the|this|your) (?:{_PIC} )?(?:description|caption) {_SAY}",
    rf"\b{_LEAD} {_THE} (?:text|textual|written|short|brief) (?:description|caption)s?\b",
    rf"\bfrom (?:that|your) (?:description|caption)\b|\byour (?:description|caption) of (?:the|this) {_PIC}",
    rf"\b(?:the|this) (?:description|caption) of (?:the|this|your) {_PIC} {_SAY}",
)
INSTRUCTION = compiled(r"\bharmless and ethical\b|\bharmless,? (?:and|but) ethical\b|\bethical and harmless\b")
_GAME = re.compile(r"\b(?:crossword|quiz|riddle|puzzle|game|rebus|manual|menu)\b")
"""Hints that are the answer's own topic, where the answer says so."""
_ASKED = re.compile(r"\bhint|\bcaption|\bdescri(?:be|ption)|\bclue")


def hint_leak() -> Filter:
    def run(row: Row) -> Drop | None:
        if not row.get("eyes_closed"):
            return None
        text, asked = plain(response(row)), plain(query(row))
        found = first_match(INSTRUCTION, text)
        if (
            not found
            and not _ASKED.search(asked)
            and ("hint" in text or "ption" in text or "told" in text or "given" in text)
        ):
            found = (not _GAME.search(f"{asked} {text}") and first_match(HINTS, text)) or first_match(DESCRIPTION, text)
        return Drop("hint_leak", found) if found else None

    return run
