"""blindness: answers that say they cannot see the picture. Poison for training, since that row carries the picture.

Covers: no picture seen, received, attached or understood ("I cannot see the image", "please upload the photo", "as a
text-based model"), from closed eyes and from open ones.
Does not cover: rows without pictures (there it is true); hedges on a part ("I can't see his face"); languages
other than English.
Default: on.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, response
from engine.curation.filters.seeing import ABSENT, ARRIVED, DET, END, NOT, PIC, SEE, sightless
from engine.curation.filters.text import compiled, first_match, plain, unquoted, vocabulary

PATTERNS = compiled(
    rf"\bi {NOT} {SEE} ?{DET}{PIC}\b{END}",
    rf"\bi {NOT} {SEE} (?:what (?:is|was|you|the user)|(?:the )?(?:thing|person|object)s? you)"
    r"(?: (?:in|on|shown|shows?) (?:the|this|your)? ?(?:\w+)| (?:are|were|have|mean|describe|refer|point|show))",
    rf"\b(?:there (?:is|are|was|seems? to be|appears? to be)|i have|i got|i received|i was given|it seems|"
    rf"with) no {PIC} (?:here|attached|provided|uploaded|included|shared|given|available|to (?:look|see|view|go)|"
    rf"in (?:our|your|this|the) (?:chat|message|conversation|question|prompt|request)|with your|for me|visible to)",
    rf"\bno {PIC} (?:\w+ )?(?:was|were|is|are|has been|have been|came|seems to) (?:\w+ )?{ABSENT}",
    rf"\bi (?:have not|was not|am not) (?:been )?(?:given|shown|sent|provided with|handed) {DET}{PIC}",
    rf"\b{PIC},? (?:but|and|though|although|yet) i {NOT} (?:\w+ )?(?:see|view|find|open) (?:it|one|them|any)\b",
    rf"\bi (?:\w+ )?(?:(?:need|require)(?: to (?:see|view|have))?|have to (?:see|view)) {DET}{PIC}\b{END}"
    r"(?: first| (?:to|in order|so|before|for)|[.,;!]|$)",
    rf"\b(?:since|because|as|but|and) {DET}{PIC} (?:is|are|was|seems? to be|appears? to be) missing\b",
    rf"\bif you (?:can |could )?(?:tell|told) me (?:more )?(?:what|about)[^.!?]{{0,20}}{PIC}",
    rf"\bmy (?:\w+ )?(?:abilit|capabilit|skill)\w+ (?:do not|does not|are limited)[^.!?]{{0,50}}\b(?:{PIC}|text)",
    rf"\b{PIC}[^.!?]{{0,40}}[.?!] (?:\w+,? )?i {NOT} (?:see|view|open|access|find|look at) (?:it|them|that)\b",
    r"\b(?:only|just) (?:able to|capable of) (?:process|read|handl|work|understand)\w* (?:with )?(?:plain )?text\b",
    rf"\b{PIC} (?:cannot|could not) be (?:displayed|opened|processed|loaded|viewed|seen|shown)(?: (?:here|by me|to me|"
    r"for me|in this)|[.,;]|$)",
    rf"\b{PIC}[^.!?]{{0,40}} (?:is|are|was) (?:not |in)(?:visible|accessible|viewable|shown) (?:to|for) me\b",
    rf"\bthere (?:does|do|did) not (?:seem|appear) to be {DET}{PIC}",
    rf"\b(?:seeing|viewing|looking at|reading|processing) {DET}{PIC} is (?:not (?:something|possible|among|part)|"
    r"beyond|outside)\b|\bi cannot see what you (?:see|mean|show|sent?)\b",
    rf"\b(?:once|when|after|as soon as|if) you (?:have )?(?:share|provide|upload|describe|send|attach|add)\w* (?:me )?"
    rf"{DET}{PIC}[^.!?]{{0,30}}\bi (?:will|can|could|would|may|might)\b",
    rf"\b(?:describe|tell me|say) what {DET}{PIC} (?:show|look|contain|depict)\w*",
    rf"\b(?:see|view) {DET}{PIC},? (?:which|but|and|though) i (?:cannot|am unable|am not able)\b",
    rf"^(?:please,? )?describe {DET}{PIC}{END} (?:to|for) me\b|\bdescribe {DET}{PIC}{END} in (?:words|text)\b",
    rf"\b(?:could|can|would|will) you (?:\w+ )?(?:upload|attach|send|share|provide|resend) (?:me )?{DET}{PIC}\b"
    r"(?! (?:to|with|in|into|by|from)\b)[^.!?]*\?",
    rf"\b{PIC} (?:seems?|appears?) (?:to be )?(?:missing|absent|lost)\b|\bsupposed to be {DET}{PIC}",
    rf"\bmy (?:\w+ )?(?:model|version|system|interface) (?:does|do|can) ?not (?:support|handle|process|accept) {PIC}",
    rf"\b{PIC}[^.!?]{{0,60}}\bi {NOT} {SEE} (?:it|one|them)\b",
    *ARRIVED,
    rf"\bi have no {PIC} (?:to|here)\b|\bthere is no {PIC} (?:for|that i can|to)\b",
    rf"\b{PIC},? (?:but|and|though|yet) (?:none|nothing) (?:\w+ )?(?:came|come|arrived|"
    r"(?:was|is) (?:here|there|attached))",
    rf"\b(?:am|as) an? (?:\w+ ){{0,3}}(?:text (?:model|ai|assistant)|language [^.!?]{{0,80}}\b(?:not|cannot|no|"
    rf"only))\b[^.!?]{{0,80}}\b{PIC}",
    rf"\bi {NOT} {SEE} what (?:the|this|your) {PIC} ",
    rf"^(?:sorry, |unfortunately, )?no {PIC} (?:{ABSENT}|here)",
    rf"\byou (?:have|did|do) not (?:seem to )?(?:\w+ )?(?:attach|upload|shar|provid|includ|send|sent|give|"
    rf"post)\w* (?:me )?(?:with )?{DET}{PIC}|\byou forgot (?:to \w+ )?{DET}{PIC}",
    rf"\b(?:please|could you|can you|would you|if you (?:could|can|would)?|kindly|try to) ?(?:please )?"
    rf"(?:re-?)?(?:provide|share|upload|attach|send|show|include|resend|"
    rf"post)(?: me)? {DET}(?:\w+ (?:or|and) )?{PIC}\b{END}"
    r"(?! (?:to|with|in|into|onto|by|before|at|from) (?:the|a|an|its|my|your (?!question|message|request)|their|"
    r"each|all|friday|post|mail))",
    rf"\b(?:please|could you|can you|would you|if you (?:could|can|would|will)|"
    rf"kindly) (?:please )?(?:\w+ )?describe (?:what (?:is|you see|can be seen) (?:shown )?(?:in|on) )?{DET}{PIC}"
    r"(?! (?:in|on|from|with) (?:a|your|the)\b)",
    rf"\b(?:without|not being able to|not having)(?: (?:being able to|having|actually))* (?:see|seen|"
    rf"seeing|view|viewed|viewing|look at|"
    rf"looking at|access to|had access to) {DET}{PIC}\b{END}",
    rf"\bwithout (?:the|your|an?|that|any) (?:actual )?{PIC},? (?:i|it is)\b",
    rf"\b(?:your |the |this )(?:message|question|request|prompt|query|chat|conversation|post) (?:(?:contains?|"
    rf"ha[sd]|includes?|comes? with|came with) no {PIC}|(?:does|did) not (?:contain|include|have|come with) (?:an?|"
    rf"any|the) {PIC})",
    r"\b(?:as|i am|i was)(?: only| just)? an? (?:\w+ ){0,2}(?:text|language)[- ](?:based|only)\b",
    r"\bi (?:am [^.!?]{0,50}(?:and|that|which) )?(?:can )?(?:only|just) (?:can )?(?:process|handle|work with|read|"
    r"understand|see|deal with|receive|accept|respond to|reply to) (?:with )?(?:plain |written )?(?:text|words|"
    r"language)",
    rf"\bi (?:do not|have no|lack|did not)(?: have)?(?: any| the)? ?(?:(?:direct |"
    rf"visual )*access to {DET}{PIC}|(?:visual|sight|eyes|vision)\b)",
    rf"(?<!if the )(?<!if your )(?<!when the )(?<!if a )"
    rf"\b{PIC} (?:that |which )?(?:you \w+ |in question )?(?:(?:is|are|was|were|has|have|did|does|do) not|"
    rf"failed to) (?:\w+ )?(?:{ABSENT}(?: to me| here| for me| yet|[,.;]|$)|upload|load|come through|open for)",
    rf"\b(?:blind to|eyes (?:are )?closed to) {DET}{PIC}|\bi do not know what you mean[.,] please show\b",
)
_TRIGGERS = vocabulary("image picture photo pic visual screenshot attach text eyes sight vision language see view")
"""Each pattern needs one of these, and a negation, a request or a condition; most answers have none."""


def blindness() -> Filter:
    def run(row: Row) -> Drop | None:
        if not row.get("picture_sha256"):
            return None
        text = plain(unquoted(response(row)))
        if not any(map(text.__contains__, _TRIGGERS)):
            return None
        found = first_match(PATTERNS, text) or sightless(text)
        return Drop("blindness", found) if found else None

    return run
