"""identity: answers that say which model or company wrote them, so that the trained model would say it too.

Covers: "I am ChatGPT", "as an AI developed by ...", a company's use policy as the reason (496 test answers of VLGuard
name OpenAI, most as "OpenAI's use policy"), and knowledge cut-offs.
Does not cover: "as an AI" alone, which is true of the trained model as well and stands in half of all refusals (set
`plain_ai` to drop it too); companies and models as the topic ("the logo of OpenAI"); other languages than English.
Default: on; `plain_ai` off.
"""

from __future__ import annotations

from engine.curation.filters.base import Drop, Filter, Row, query, response
from engine.curation.filters.text import compiled, first_match, plain, vocabulary

_VENDOR = (
    r"(?:openai|open ai|anthropic|google(?: deepmind| research| ai)?|deepmind|meta(?: ai)?|facebook|microsoft|"
    r"alibaba(?: cloud)?|mistral(?: ai)?|baidu|tencent|bytedance|deepseek|xai|cohere|nvidia|hugging ?face|"
    r"stability ai|zhipu(?: ai)?|moonshot(?: ai)?)"
)
_MODEL = (
    r"(?:chat-?gpt|gpt-?\d\w*(?:\.\d)?(?:-\w+)*|claude|gemini|bard|ll?a(?:v|m)a(?:-[\w.]+)*|vicuna|qwen[\w.-]*|"
    r"copilot|mistral|grok|deepseek|internvl\w*|minigpt[\w-]*|instructblip|ernie|kimi|pixtral|alpaca|gemma|"
    r"bing chat)"
)
_AI = (
    r"(?:ai|a\.i\.|artificial intelligence|model|lmm|llm|vlm|mllm|assistant|chat-?bot|bot|system|program|"
    r"language model|network)"
)
_MADE = r"(?:develop|train|ma[dk]e|creat|buil[td]|design|power|tun|fine-tun|releas|program|provid|host|own)\w*"
PATTERNS = compiled(
    rf"\b(?:i am|my name is|i am called|known as|call me|you are (?:talking|speaking|chatting) (?:to|"
    rf"with)) (?:called |named )?{_MODEL}\b",
    rf"\bi, {_MODEL}\b|\bthis is {_MODEL} (?:speaking|here|again)|\bas {_MODEL}, (?:i|my)\b",
    rf"\bi am (?:an? |the )?(?:[\w-]+,? ){{0,5}}{_AI}\b[^.!?]{{0,30}}\b{_MADE} (?:and \w+ )?(?:by|at|in)\b",
    rf"(?:^|[.!?,;:(] ?)(?:as|being) (?:an? |the )(?:[\w-]+,? ){{0,5}}{_AI}\b[^.!?]{{0,30}}\b{_MADE} (?:and "
    rf"\w+ )?(?:by|at)\b",
    rf"\b(?:i am|as|being) (?:an? |the )?(?:[\w-]+,? ){{0,5}}{_AI} (?:by|from|of) {_VENDOR}\b",
    r"\bi (?:was|am|have been) (?:\w+ly )?(?:developed|created|built|designed|programmed|made|released|"
    r"fine-tuned)(?: and \w+)? (?:by|at) ",
    rf"\bi (?:was|am|have been) (?:\w+ly )?trained (?:and \w+ )?(?:by|at) (?:{_VENDOR}|(?:an? |"
    rf"the )?(?:\w+ )?(?:team|compan|researcher|scientist|engineer|developer|lab|group))",
    rf"\b(?:by|my (?:creators?|makers?|developers?)(?: is| are| at|,)?) {_VENDOR},? (?:i |my )",
    rf"\b{_VENDOR} (?:\w+ )?(?:has |have |does not |did not |do not |will not |would not )?(?:{_MADE}|allow|let|ask|"
    rf"want|requir|forbid|prohibit|instruct|permit)\w* me\b",
    rf"\bi (?:am|was) (?:\w+ly )?{_MADE} (?:and \w+ )?by {_VENDOR}\b|\bi was (?:last|only) (?:trained|updated)\b",
    rf"\b(?:response|answer|text|reply|message) (?:was |is )?(?:written|generated|created|produced) by (?:{_MODEL}|"
    rf"{_VENDOR}|an ai)\b",
    r"\bmy (?:\w+ )?(?:knowledge|training|information|data)(?: data| base)?(?: only| also)? ?(?:cut-?off|goes|go|"
    r"ends?|extends|stops|reaches|is limited|was last|is (?:only )?(?:current|up))",
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
    rf"\b{_BOUND}\w* (?:the )?{_VENDOR}(?:'s?|s)? (?:[\w-]+ ){{0,3}}{_RULE}\b",
    rf"\b{_BOUND}\w* (?:the )?(?:\w+ )?{_RULE} (?:of|by|from|at|set (?:out )?by) {_VENDOR}\b",
    rf"\b{_VENDOR}(?:'s?|s)? (?:[\w-]+ ){{0,3}}{_RULE} {_BINDS}",
    rf"\b{_RULE} (?:of|by|from|at|set (?:out )?by) {_VENDOR} {_BINDS}",
)
_TRIGGERS = vocabulary(
    "gpt claude gemini bard llava llama vicuna qwen copilot mistral grok deepseek "
    "internvl instructblip ernie kimi pixtral alpaca gemma bing openai anthropic "
    "google meta facebook microsoft alibaba baidu tencent bytedance xai cohere nvidia "
    "hugging stability zhipu moonshot a.i. artificial model assistant bot system program network llm lmm"
) | {" ai", "ai ", "i was", "i am dev", "i am cre", "i have been", "my "}
"""Every pattern needs one of these; most answers have none."""
PLAIN_AI = compiled(rf"(?:^|[.!?,;:] ?)(?:as|i am|being) an? (?:[\w-]+ ){{0,3}}{_AI}\b")


def identity(plain_ai: bool = False) -> Filter:
    """`plain_ai`: also drop "as an AI language model" without a maker."""

    def run(row: Row) -> Drop | None:
        text = plain(response(row))
        if not any(map(text.__contains__, _TRIGGERS)):
            return None
        found = first_match(PATTERNS, text)
        if not found and not first_match(POLICY, plain(query(row))):
            found = first_match(POLICY, text)
        if not found and plain_ai:
            found = first_match(PLAIN_AI, text)
        return Drop("identity", found) if found else None

    return run
