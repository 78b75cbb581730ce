"""blindness: answers that say they cannot see the picture. Poison for training, since that row carries the picture.

Covers: no picture seen, received, attached or understood ("I cannot see the image", "please upload the photo", "as a
text-based model"), from closed eyes and from open ones.
Does not cover: rows without pictures (there it is true); hedges on a part ("I can't see his face"); languages
other than English.
Default: on.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, response
from engine.curation.filters.text import compiled, first_match, plain, vocabulary

_PIC = (
    r"(?:images?|pictures?|photos?|photographs?|pics?|visuals?|screenshots?|attachments?|visual (?:content|input|"
    r"data|information))"
)
_END = r"(?!'| (?:of|album|frame|book|on|clearly|well|properly|exhibition|editing)\b)"
_DET = (
    r"(?:(?:the|this|that|these|your|any|an?|it or|actual|attached|uploaded|shared|provided|said|original|"
    r"mentioned) )*"
)
_NOT = (
    r"(?:cannot|could not|do not|am (?:\w+ )?(?:unable to|not (?:\w+ )?able to|incapable of|not capable of|"
    r"not (?:equipped|designed|built|trained|made|programmed|allowed) to)|was not able to|was unable to|"
    r"have no (?:way (?:of|to)|ability to|means (?:of|to))|lack the (?:ability|means) to|do not have (?:the|any|"
    r"an) (?:\w+ )?(?:ability|capability|capacity|means) (?:to|of)|have not|being unable to)"
)
_SEE = (
    r"(?:(?:actually|directly|really|physically|currently|yet|even|open and|to) )*(?:see|view|look at|access|open|"
    r"analy[sz]e|process|observe|perceive|interpret|inspect|display|receive|seen|received|find|get|viewing|seeing|"
    r"looking at|accessing|analy[sz]ing|processing|perceiving)(?:,? (?:or|and) (?:\w+ ){1,2}?)?"
)
_ABSENT = r"(?:visible|available|accessible|attached|uploaded|loaded|provided|included|shared|received|present)"
PATTERNS = compiled(
    rf"\bi {_NOT} {_SEE} ?{_DET}{_PIC}\b{_END}",
    rf"\bi {_NOT} {_SEE} (?:what (?:is|was|you|the user)|(?:the )?(?:thing|person|object)s? you)"
    r"(?: (?:in|on|shown|shows?) (?:the|this|your)? ?(?:\w+)| (?:are|were|have|mean|describe|refer|point|show))",
    rf"\b(?:there (?:is|are|was|seems? to be|appears? to be)|i have|i got|i received|i was given|it seems|"
    rf"with) no {_PIC} (?:here|attached|provided|uploaded|included|shared|given|available|to (?:look|see|view|go)|"
    rf"in (?:our|your|"
    r"this|the) (?:chat|message|conversation|question|prompt|request)|with your|for me|visible to)",
    rf"\bno {_PIC} (?:\w+ )?(?:was|were|is|are|has been|have been|came|seems to) (?:\w+ )?{_ABSENT}",
    rf"\bi (?:have not|was not|am not) (?:been )?(?:given|shown|sent|provided with|handed) {_DET}{_PIC}",
    rf"\b{_PIC},? (?:but|and|though|although|yet) i {_NOT} (?:\w+ )?(?:see|view|find|open) (?:it|one|them|any)\b",
    rf"\bi (?:\w+ )?(?:(?:need|require)(?: to (?:see|view|have))?|have to (?:see|view)) {_DET}{_PIC}\b{_END}"
    r"(?: first| (?:to|in order|so|before|for)|[.,;!]|$)",
    rf"\b(?:since|because|as|but|and) {_DET}{_PIC} (?:is|are|was|seems? to be|appears? to be) missing\b",
    rf"\bif you (?:can |could )?(?:tell|told) me (?:more )?(?:what|about)[^.!?]{{0,20}}{_PIC}",
    rf"\bmy (?:\w+ )?(?:abilit|capabilit|skill)\w+ (?:do not|does not|are limited)[^.!?]{{0,50}}\b(?:{_PIC}|text)",
    rf"\b{_PIC} cannot be (?:displayed|opened|processed|loaded|viewed)(?: (?:here|by me|in this)|[.,;]|$)",
    rf"\b(?:am|as) an? (?:\w+ ){{0,3}}(?:text (?:model|ai|assistant)|language [^.!?]{{0,80}}\b(?:not|cannot|no|"
    rf"only))\b[^.!?]{{0,80}}\b{_PIC}",
    rf"\bi {_NOT} {_SEE} what (?:the|this|your) {_PIC} ",
    rf"^(?:sorry, |unfortunately, )?no {_PIC} (?:{_ABSENT}|here)",
    rf"\byou (?:have|did|do) not (?:seem to )?(?:\w+ )?(?:attach|upload|shar|provid|includ|send|sent|give|"
    rf"post)\w* (?:me )?(?:with )?{_DET}{_PIC}|\byou forgot (?:to \w+ )?{_DET}{_PIC}",
    rf"\b(?:please|could you|can you|would you|if you (?:could|can|would)?|kindly|try to|you (?:could|can|"
    rf"may)) ?(?:please )?(?:re-?)?(?:provide|share|upload|attach|send|show|include|resend|"
    rf"post)(?: me)? {_DET}{_PIC}\b{_END}"
    r"(?! (?:to|with|in|into|onto|by|before|at|from) (?:the|a|an|its|my|your (?!question|message|request)|their|"
    r"each|all|friday))",
    rf"\b(?:please|could you|can you|would you|if you (?:could|can|would|will)|"
    rf"kindly) (?:please )?(?:\w+ )?describe (?:what (?:is|you see|can be seen) (?:shown )?(?:in|on) )?{_DET}{_PIC}"
    r"(?! (?:in|on|from|with) (?:a|your|the)\b)",
    rf"\bif you (?:share|provide|upload|describe|send|attach)(?: me)? {_DET}{_PIC}[^.!?]{{0,30}}\bi (?:will|can|"
    rf"could|would)\b",
    rf"\b(?:without|not)(?: (?:being able to|having|actually))* (?:see|seen|seeing|view|viewed|viewing|look at|"
    rf"looking at|access to|had access to) {_DET}{_PIC}\b{_END}",
    rf"\bwithout (?:the|your|an?|that|any) (?:actual )?{_PIC},? (?:i|it is)\b",
    rf"\b(?:your |the |this )(?:message|question|request|prompt|query|chat|conversation|post) (?:(?:contains?|"
    rf"ha[sd]|includes?|comes? with|came with) no {_PIC}|(?:does|did) not (?:contain|include|have|come with) (?:an?|"
    rf"any|the) {_PIC})",
    r"\b(?:as|i am|i was)(?: only| just)? an? (?:\w+ ){0,2}(?:text|language)[- ](?:based|only)\b",
    r"\bi (?:am [^.!?]{0,50}(?:and|that|which) )?(?:can )?(?:only|just) (?:can )?(?:process|handle|work with|read|"
    r"understand|see|deal with|receive|accept|respond to|reply to) (?:with )?(?:plain |written )?(?:text|words|"
    r"language)",
    rf"\bi (?:do not|have no|lack|did not)(?: have)?(?: any| the)? ?(?:(?:direct |"
    rf"visual )*access to {_DET}{_PIC}|(?:visual|sight|eyes|vision)\b)",
    rf"\b{_PIC} (?:that |which )?(?:you \w+ |in question )?(?:(?:is|are|was|were|has|have|did|does|do) not|"
    rf"failed to) (?:\w+ )?(?:{_ABSENT}(?: to me| here| for me| yet|[,.;]|$)|upload|load|come through|open for)",
    rf"\b(?:blind to|eyes (?:are )?closed to) {_DET}{_PIC}|\bi do not know what you mean[.,] please show\b",
)
_TRIGGERS = vocabulary("image picture photo pic visual screenshot attach text eyes sight vision language see view")
"""Each pattern needs one of these, and a negation, a request or a condition; most answers have none."""


def blindness() -> Filter:
    def run(row: Row) -> Drop | None:
        if not row.get("picture_sha256"):
            return None
        text = plain(response(row))
        if not any(map(text.__contains__, _TRIGGERS)):
            return None
        found = first_match(PATTERNS, text)
        return Drop("blindness", found) if found else None

    return run
