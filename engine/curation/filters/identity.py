"""identity: answers that say which model or company wrote them, so that the trained model would say it too.

Covers: "I am ChatGPT", "as an AI developed by ...", a company's use policy as the reason (496 test answers of VLGuard
name OpenAI, most as "OpenAI's use policy"), and knowledge cut-offs.
Does not cover: "as an AI" alone, which is true of the trained model as well and stands in half of all refusals (set
`plain_ai` to drop it too); companies and models as the topic ("the logo of OpenAI"); other languages than English.
Default: on; `plain_ai` off.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, query, response
from engine.curation.filters.makers import ABOUT_YOU, AI, MADE, MODEL, PLAIN, VENDOR
from engine.curation.filters.text import compiled, first_match, plain, unquoted, vocabulary

ASKED = compiled(rf"\b(?:{MODEL}|{VENDOR})\b")
PATTERNS = compiled(
    rf"\b(?:i|me|my|myself)\b[^.!?]{{0,60}}\b{PLAIN}\b|\b{PLAIN}\b[^.!?]{{0,60}}\b(?:me|my|myself)\b",
    r"\bmy (?:last|latest|most recent) (?:\w+ )?(?:update|training)\b",
    r"\bi (?:used to be|was once) (?:called|known as)\b",
    rf"\b(?:i am|my name is|i am called|known as|call me|you are (?:talking|speaking|chatting) (?:to|"
    rf"with)) (?:called |named )?{MODEL}\b",
    rf"\bi am (?:an? |the )?(?:\w+ )?{MODEL}[- ](?:based|powered|derived|style)\b",
    rf"\bthis is {MODEL}[,.!]? (?:how|what) (?:can|may|do) |\bi am (?:the )?version [\w.]+ of {MODEL}",
    rf"^(?:\w+[ ,!.]+){{0,3}}{MODEL} here\b",
    r"\bi (?:only |just )?(?:have|know|hold|possess) [^.!?]{0,40}\b(?:until|up to|before|as of|through) (?:\w+ )?"
    r"(?:19|20)\d\d\b",
    rf"\bi (?:am|was) (?:\w+ )?(?:based|built|running) (?:up)?on (?:the |an? )?(?:[\w-]+ )?(?:{MODEL}|{VENDOR})\b",
    rf"\bi (?:belong to|come from|work for|am owned by|am (?:a )?(?:product|part) of) (?:the )?{VENDOR}\b",
    rf"\b(?:as|i am) (?:{VENDOR}|{MODEL})(?:'s|s') (?:[\w-]+ ){{0,2}}{AI}\b",
    rf"\bi am an? (?:[\w-]+ ){{0,4}}{AI} (?:by|from|of|at) (?:the )?(?:[\w-]+ ){{1,4}}(?:labs?|inc|institute|"
    r"universit|research|compan)\w*",
    rf"\bi (?:go|run|work|operate|answer) (?:by|as|at|under|on|for|to) (?:the )?(?:name )?(?:{MODEL}|{VENDOR})\b",
    rf"\bmy (?:\w+ )?name (?:is|was) (?:\w+ )?{MODEL}\b|\bi was (?:\w+ly )?born (?:at|in|by) {VENDOR}\b",
    r"\b(?:i|my)\b [^.!?]{0,20}\b(?:trained|updated|learned|texts?|data|information|knowledge)\b[^.!?]{0,30}\b(?:up to|"
    r"until|till|before|through) (?:\w+ )?(?:19|20)\d\d\b",
    rf"\b{VENDOR} (?:\w+ )?(?:told|taught|asked|wants?|instruct|program|forbid|forbade)\w* me\b",
    rf"\b{VENDOR} (?:\w+ )?{MADE} me\b|\b(?:people|team|engineers|company) (?:who|that|which) {MADE} me\b",
    rf"\bmy (?:creators?|makers?|developers?|trainers?|owners?) (?:is|are|at|from|,)? ?(?:the )?{VENDOR}\b",
    rf"\b(?:call|know) (?:me|myself)(?: as)? {MODEL}\b|^this is {MODEL}\b",
    rf"\bi, {MODEL}\b|\bthis is {MODEL} (?:speaking|here|again)|\bas {MODEL}, (?:i|my)\b",
    rf"\bi am (?:an? |the )?(?:[\w-]+,? ){{0,5}}{AI}\b[^.!?]{{0,30}}\b{MADE} (?:and \w+ )?(?:by|at|in)\b",
    rf"(?:^|[.!?,;:(] ?)(?:as|being) (?:an? |the )(?:[\w-]+,? ){{0,5}}{AI}\b[^.!?]{{0,30}}\b{MADE} (?:and "
    rf"\w+ )?(?:by|at)\b",
    rf"\b(?:i am|as|being) (?:an? |the )?(?:[\w-]+,? ){{0,5}}{AI} (?:by|from|of) {VENDOR}\b",
    r"\bi (?:was|am|have been) (?:\w+ly )?(?:developed|created|built|designed|programmed|made|released|"
    r"fine-tuned)(?: and \w+)? (?:by|at) ",
    rf"\bi (?:was|am|have been) (?:\w+ly )?trained (?:and \w+ )?(?:by|at) (?:{VENDOR}|(?:an? |"
    rf"the )?(?:\w+ )?(?:team|compan|researcher|scientist|engineer|developer|lab|group))",
    rf"\b(?:by|my (?:creators?|makers?|developers?)(?: is| are| at|,)?) {VENDOR},? (?:i |my )",
    rf"\b{VENDOR} (?:\w+ )?(?:has |have |does not |did not |do not |will not |would not )?(?:{MADE}|allow|let|ask|"
    rf"want|requir|forbid|prohibit|instruct|permit)\w* me\b",
    rf"\bi (?:am|was) (?:\w+ly )?{MADE} (?:and \w+ )?by {VENDOR}\b|\bi was (?:last|only) (?:trained|updated)\b",
    rf"\b(?:response|answer|text|reply|message) (?:was |is )?(?:written|generated|created|produced) by (?:{MODEL}|"
    rf"{VENDOR}|an ai)\b",
    r"\bmy (?:\w+ )?(?:knowledge|training|information|data)(?: data| base)?(?: only| also)? ?(?:cut-?off|goes|go|"
    r"update|end\w*|extends|stop\w*|was cut off|reaches|is limited|was last|is (?:only )?(?:current|up))",
    r"\b(?:as of|since|at|until) my (?:last|latest|most recent|current|knowledge|training)(?: knowledge| training|"
    r" data)* ?(?:update|cut-?off|data)\b",
)
_RULE = r"(?:polic(?:y|ies)|guidelines?|terms(?: of (?:use|service))?|rules|principles)"
_BOUND = (
    r"(?:against|violat|breach|break|break|contra|according to|under|per|due to|compl|in line with|because of|"
    r"follow|within|by|with)"
)
_BINDS = r"(?:(?:do|does) not|prevent|prohibit|forbid|ask|requir|restrict|bar|keep|stop)"
POLICY = compiled(
    rf"\b{_BOUND}\w* (?:the )?{VENDOR}(?:'s?|s)? (?:[\w-]+ ){{0,3}}{_RULE}\b",
    rf"\b{_BOUND}\w* (?:the )?(?:\w+ )?{_RULE} (?:of|by|from|at|set (?:out )?by) {VENDOR}\b",
    rf"\b{VENDOR}(?:'s?|s)? (?:[\w-]+ ){{0,3}}{_RULE} {_BINDS}",
    rf"\b{_RULE} (?:of|by|from|at|set (?:out )?by) {VENDOR} {_BINDS}",
)
_TRIGGERS = vocabulary(
    "gpt claude gemini bard llava llama vicuna qwen copilot mistral grok deepseek "
    "internvl instructblip ernie kimi pixtral alpaca gemma bing openai anthropic "
    "google meta facebook microsoft alibaba baidu tencent bytedance xai cohere nvidia "
    "hugging stability zhipu moonshot a.i. artificial model assistant bot system program network llm lmm"
) | {" ai", "ai ", "i was", "i am dev", "i am cre", "i have been", "my ", "me ", "until", "up to", "before", "as of"}
"""Every pattern needs one of these; most answers have none."""
PLAIN_AI = compiled(rf"(?:^|[.!?,;:] ?)(?:as|i am|being) an? (?:[\w-]+ ){{0,3}}{AI}\b")


def identity(plain_ai: bool = False) -> Filter:
    """`plain_ai`: also drop "as an AI language model" without a maker."""

    def run(row: Row) -> Drop | None:
        text = plain(unquoted(response(row)))
        if not any(map(text.__contains__, _TRIGGERS)):
            return None
        found = first_match(PATTERNS, text)
        if not found and ABOUT_YOU.search(plain(query(row))):
            found = first_match(ASKED, text)
        if not found and not first_match(POLICY, plain(query(row))):
            found = first_match(POLICY, text)
        if not found and plain_ai:
            found = first_match(PLAIN_AI, text)
        return Drop("identity", found) if found else None

    return run
