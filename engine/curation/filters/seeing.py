"""Words of `blindness`: pictures, who cannot see them, and what seeing is called."""

from __future__ import annotations

import re

PIC = (
    r"(?:images?|pictures?|photos?|photographs?|pics?|visuals?|screenshots?|attachments?|visual (?:content|input|"
    r"data|information))"
)
END = r"(?!'|,? (?:says|reads|asks)\b| (?:of|album|frame|book|on|clearly|well|properly|exhibition|editing)\b)"
DET = (
    r"(?:(?:the|this|that|these|your|any|an?|it or|actual|attached|uploaded|shared|provided|said|original|mentioned) )*"
)
NOT = (
    r"(?:cannot|could not|do not|am (?:\w+ )?(?:unable to|not (?:\w+ )?able to|incapable of|not capable of|"
    r"not (?:equipped|designed|built|trained|made|programmed|allowed) to)|was not able to|was unable to|"
    r"have no (?:way (?:of|to)|ability to|means (?:of|to))|lack the (?:ability|means) to|do not have (?:the|any|"
    r"an) (?:\w+ )?(?:ability|capability|capacity|means) (?:to|of)|have not(?: been able to)?|being unable to)"
)
SEE = (
    r"(?:(?:actually|directly|really|physically|currently|yet|even|open and|to) )*(?:see|view|look at|access|open|"
    r"analy[sz]e|process|observe|perceive|interpret|inspect|display|receive|seen|received|find|get|viewing|seeing|"
    r"looking at|accessing|analy[sz]ing|processing|perceiving)(?:,? (?:or|and) (?:\w+ ){1,2}?)?"
)
_COME = r"(?:arriv|came|come|reach|load|upload|attach|miss|includ|provid|receiv|made it|got through)\w*"
ARRIVED = (
    rf"\b(?:no|your) {PIC} (?:\w+ ){{0,3}}(?:came|come|arrived|reached|made it|got through|loaded|uploaded)\b",
    rf"\bit (?:looks|seems|appears) (?:as if|like|that) {DET}(?:no )?{PIC} (?:you \w+ (?:to \w+ )?)?"
    rf"(?:is|was|has|did|could)[^.!?]{{0,20}}{_COME}",
    rf"\byour (?:message|question|post|request|prompt) (?:\w+ )?(?:contain|ha|include|come|came|arrive)\w* "
    rf"(?:with )?(?:no|without an?) {PIC}",
    rf"\byou (?:need|have|will have|will need|would need) to (?:attach|upload|provide|share|send|describe) (?:me )?"
    rf"{DET}{PIC}\b[^.!?]*\b(?:i|me)\b",
)
"""Pictures that did not come, and what the asker is to do about it."""
ABSENT = r"(?:visible|available|accessible|attached|uploaded|loaded|provided|included|shared|received|present)"

_CLAUSE = re.compile(r"[.!?;:]+ ?|, (?:but|so|yet|though|although|which|because|since|and) |, ")
_BEFORE = r"(?:in|on|from|of|between|among|behind|under|within|inside|than|with|to|for|at|by|into|about|see the|like)"
_WHOLE = re.compile(
    rf"(?:(?P<before>\b{_BEFORE}) )?\b{DET}(?:(?:two|three|both|other|whole|first|second|\w+ly) )?\b{PIC}\b{END}"
)
_LOST = re.compile(
    r"\b(?:not|no|none|unable|cannot|without|lack|incapable|beyond|failed|fails|missing|am blind|nothing)\b"
)
_SPEAKER = re.compile(r"\b(?:i|me|my)\b")
_SENSE = re.compile(
    r"\b(?:see|seen|seeing|view\w*|look(?:ing)? at|access\w*|open\w*|load\w*|receiv\w*|get|got|find|found|make out|"
    r"display\w*|show(?:n|s|ing)?|appear\w*|visible|available|perceiv\w*|process\w*|analy[sz]\w*|interpret\w*|"
    r"in front of|arriv\w*|came|come|have|had|there)\b"
)
_OTHER = re.compile(
    r"\bsee (?:why|how|whether|if|who|where|that)\b|"
    r"\bif (?:the|your|a)\b|\bwait\b|\bneed\b|\bsays?\b|\bask(?:s|ed)?\b|\bknow\b|"
    r"\b(?:tell|think|believe|like|recommend|suppose|mind|expect)\b"
)
_FIRST = re.compile(
    rf"\b(?:since|as|because) there (?:is|was) no {PIC}\b|\bwithout {DET}{PIC}, i (?:cannot|can only)\b"
)


def sightless(text: str) -> str | None:
    """The clause in which the speaker does not see a picture: a first person, a negation, a verb of seeing or getting,
    and a picture that is its object. "I see no cat in the picture" has it after a preposition, and passes."""
    found = _FIRST.search(text)
    if found:
        return found.group()
    for clause in _CLAUSE.split(text):
        if not (_LOST.search(clause) and _SPEAKER.search(clause) and _SENSE.search(clause)) or _OTHER.search(clause):
            continue
        if any(match["before"] is None for match in _WHOLE.finditer(clause)):
            return clause
    return None
