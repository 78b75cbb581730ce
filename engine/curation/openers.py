"""Openers of queries, by families that ask the same: what fits one frame of a family can be asked in any other.

A frame is a sentence with one slot. What stands in the slot is taken over letter by letter, so a frame may stand in a
family only if the slot holds the same part of speech there: an activity, a verb phrase, a noun phrase with its article.
Frames with a colon ("Can you tell me: what …?") keep a question's own word order, for there is no general way to turn
"What is the man holding?" into an indirect question without parsing it.

Covers: English questions and requests of the kinds below, with or without "please", and sentences behind the first,
which are kept. Does not cover: other languages; queries that open with a statement ("The image shows …"). Those give
no rewording, and the caller counts them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

Guard = Callable[[str], bool]
# fmt: off
REQUESTS = frozenset({
    "analyze", "answer", "compare", "compose", "create", "describe", "design", "draft", "explain", "generate",
    "give", "guess", "help", "identify", "imagine", "interpret", "label", "list", "make", "name", "outline", "plan",
    "point", "provide", "rate", "read", "recommend", "rewrite", "share", "show", "solve", "suggest", "summarise",
    "summarize", "teach", "tell", "translate", "turn", "walk", "write",
})
# fmt: on
"""Verbs of a request that any frame of requests can carry ("see" is none: "Can you see it?" asks something)."""
PREPOSITIONS = re.compile(r"\s(?:about|against|at|by|for|from|in|into|of|on|that|to|who|which|with)\s", re.IGNORECASE)
GOOD = re.compile(r"an? (?:good|better|suitable|possible|short|simple|appropriate)\s", re.IGNORECASE)
ARTICLE = re.compile(r"(?:the|this|these|that|those|a|an|my|your|his|her|its|our|their|each|every)\s", re.IGNORECASE)


def _any(slot: str) -> bool:
    return bool(slot)


def _noun_phrase(slot: str) -> bool:
    return ARTICLE.match(slot) is not None


def _one(slot: str) -> bool:
    return re.match(r"an?\s", slot, re.IGNORECASE) is not None


def _some(slot: str) -> bool:
    """`some tips on …`: of countable things, since it becomes "What are some …?"."""
    head = PREPOSITIONS.split(slot, maxsplit=1)[0]
    return slot.lower().startswith("some ") and head.endswith("s") and not head.endswith("ss")


def _good(slot: str) -> bool:
    return GOOD.match(slot) is not None


def _request(slot: str) -> bool:
    return slot.split(maxsplit=1)[0].lower() in REQUESTS and " " in slot


def _activity(slot: str) -> bool:
    """A noun, a gerund or "what …": no infinitive, no verb."""
    return not re.match(r"(?:to|do|i|you|he|she|we|they|it)\s", slot, re.IGNORECASE)


def _verb_phrase(slot: str) -> bool:
    return not re.match(r"(?:do\s+)?(?:the|this|that|an?|i|you|he|she|we|they|it|not)\s", slot, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Family:
    """Frames that ask the same of what stands in `{x}` (`{X}`: with a capital); `read` are understood, not written."""

    guard: Guard
    frames: tuple[str, ...]
    read: tuple[str, ...] = ()


FAMILIES = (
    Family(  # how an activity is done
        _activity,
        (
            "What are the steps for {x}?",
            "What is the plan for {x}?",
            "What is a good way to start {x}?",
            "What comes first in {x}?",
            "What do I need for {x}?",
            "What is needed to begin {x}?",
            "What goes into {x}?",
            "How do I do {x}?",
            "How can I get started with {x}?",
            "How would you go about {x}?",
            "How does one begin with {x}?",
            "Can you give me the steps for {x}?",
            "Can you give me a plan for {x}?",
            "Can you explain how to do {x}?",
            "Can you walk me through {x}?",
            "Can you write a guide for {x}?",
            "Can I learn {x} quickly?",
            "Make a list for {x}.",
            "Describe each step of {x}.",
            "Describe a simple way of doing {x}.",
            "Describe a good plan for {x}.",
            "Explain {x} to me.",
            "List the steps of {x} in detail.",
            "Share a short guide to {x}.",
            "Share a plan for {x} with me.",
            "Show me an easy way to do {x}.",
            "Take me through {x}.",
            "Teach me {x}.",
            "Write a short note on how to do {x}.",
        ),
        read=(
            "Describe how {x} is done.",
            "List the steps for {x}.",
            "List the steps of {x}.",
            "Can I learn {x}?",
            "Can you show me how {x} works?",
            "Can you show me how {x} is done?",
            "Let us try {x}. What is next?",
            "Share a plan for {x}.",
            "Walk me through {x}.",
        ),
    ),
    Family(  # help with an activity
        _activity,
        (
            "What helps with {x}?",
            "What do I need for {x}?",
            "What should I know before doing {x}?",
            "What are some tips on {x}?",
            "What is the best trick for {x}?",
            "What would you do for {x}?",
            "What makes {x} work well?",
            "Can you help me with {x}?",
            "Can you give me advice on {x}?",
            "Can you give me some tips on {x}?",
            "Give me advice on {x}.",
            "Share some tips on {x}.",
            "Share the best trick for {x}.",
            "I need help with {x}.",
            "I want to try {x}. Please help me.",
        ),
        read=(
            "What should I know before {x}?",
            "Give me some advice on {x}.",
            "Give me tips on {x}.",
            "A friend asked me about {x}. What should I say?",
        ),
    ),
    Family(  # how to do something
        _verb_phrase,
        (
            "How do I {x}?",
            "How can I {x}?",
            "How does one {x}?",
            "What are the steps to {x}?",
            "What is the best way to {x}?",
            "What is a good way to {x}?",
            "Can you explain how to {x}?",
            "Can you tell me how to {x}?",
            "Can you show me how to {x}?",
            "Can you give me step-by-step instructions on how to {x}?",
            "Can you help me {x}?",
            "Describe how to {x}.",
            "Explain how to {x}.",
            "Teach me how to {x}.",
            "I want to know how to {x}.",
        ),
        read=(
            "How to {x}?",
            "How could I {x}?",
            "Can you teach me how to {x}?",
            "Can you provide instructions on how to {x}?",
            "Can you provide step-by-step instructions on how to {x}?",
            "Give me step-by-step instructions on how to {x}.",
            "Tell me how to {x}.",
            "Show me how to {x}.",
        ),
    ),
    Family(
        _some,
        ("What are {x}?", "Can you give me {x}?", "Can you suggest {x}?", "Give me {x}.", "Share {x}."),
        read=("Can you provide {x}?", "Can you list {x}?", "Can you share {x}?", "Suggest {x}.", "List {x}."),
    ),
    Family(
        _one,
        ("What would be {x}?", "Can you give me {x}?", "Can you write {x}?", "Give me {x}.", "Write {x}."),
        read=("Can you create {x}?", "Can you suggest {x}?", "Can you provide {x}?", "Create {x}.", "Suggest {x}."),
    ),
    Family(_good, ("What is {x}?", "What would be {x}?", "Can you give me {x}?", "Give me {x}.")),
    Family(
        _noun_phrase,
        ("What is a good description of {x}?", "Can you describe {x}?", "Describe {x}.", "How would you describe {x}?"),
    ),
    Family(_noun_phrase, ("What is the explanation of {x}?", "Can you explain {x}?", "Explain {x}.")),
    Family(_noun_phrase, ("What is the identity of {x}?", "Can you identify {x}?", "Identify {x}.")),
    Family(
        _any,
        ("What can you tell me about {x}?", "Can you tell me about {x}?", "Share what you know about {x}."),
        read=("Tell me about {x}.", "Can you tell me more about {x}?", "Tell me more about {x}."),
    ),
    Family(_any, ("What is the reason why {x}?", "Can you explain why {x}?", "Explain why {x}.")),
    Family(_any, ("What {x}?", "Can you tell me: what {x}?", "Tell me: what {x}?", "I want to know: what {x}?")),
    Family(_any, ("How {x}?", "Can you tell me: how {x}?", "Tell me: how {x}?", "I want to know: how {x}?")),
    Family(_any, ("Why {x}?", "Can you tell me: why {x}?", "Tell me: why {x}?", "I want to know: why {x}?")),
    Family(_any, ("Who {x}?", "Can you tell me: who {x}?", "Tell me: who {x}?", "I want to know: who {x}?")),
    Family(_any, ("Where {x}?", "Can you tell me: where {x}?", "Tell me: where {x}?", "I want to know: where {x}?")),
    Family(_request, ("Can you {x}?", "Please {x}.", "I want you to {x}.", "{X}.")),
)
SENTENCE = re.compile(r"(?<=[.?!])\s+(?=\S)")
LONGEST = 2000
"""Characters of a query that is reworded: a longer one is a document and no question."""


def rewordings(text: str) -> list[str]:
    """Every other wording of the query that the families allow, each once, in the table's order; empty where no frame
    fits. Sentences behind the first stay as they are."""
    found: dict[str, None] = {}
    plain = text.strip()
    if len(plain) > LONGEST:
        return []
    head, *rest = SENTENCE.split(plain, maxsplit=1)
    for sentence, tail in ((plain, ""), (head, " " + rest[0] if rest else "")):
        for family, slot in _readings(sentence):
            found.update(dict.fromkeys(_write(frame, slot) + tail for frame in family.frames))
    found.pop(plain, None)
    return list(found)


def _readings(sentence: str) -> Iterator[tuple[Family, str]]:
    """The families of the most exact frame that fits, with what stands in the slot: "What is the plan for X?" is a
    question for a plan, and not one that begins with "what"."""
    fits: list[tuple[int, Family, str]] = []
    for family in FAMILIES:
        for frame in family.frames + family.read:
            match = _pattern(frame).match(sentence)
            if match and _is_slot(family, slot := _slot(match.group("x"), family)):
                fits.append((len(frame), family, slot))
    if fits:
        longest = max(length for length, _, _ in fits)
        yield from ((family, slot) for length, family, slot in fits if length == longest)


def _slot(found: str, family: Family) -> str:
    """ "doing X" is the activity X; a question mark belongs to the frame."""
    slot = found.strip()
    if family.guard is _activity and slot.lower().startswith("doing "):
        return slot[len("doing ") :]
    if family.guard is _request:
        return slot[:1].lower() + slot[1:]
    return slot


def _is_slot(family: Family, slot: str) -> bool:
    """One sentence's part, of the family's kind."""
    return bool(slot) and SENTENCE.search(slot) is None and ":" not in slot[:24] and family.guard(slot)


def _write(frame: str, slot: str) -> str:
    return frame.replace("{x}", slot).replace("{X}", slot[:1].upper() + slot[1:])


@cache
def _pattern(frame: str) -> re.Pattern[str]:
    """The frame as an expression: any case, "can you please", "could you" and "would you" for "can you"."""
    before, after = re.split(r"\{[xX]\}", frame)
    opening = re.escape(before).replace("Can\\ you\\ ", r"(?:can|could|would|will)\ you\ (?:please\ )?")
    closing = re.escape(after.rstrip(".?!"))
    return re.compile(rf"(?:please\ )?{opening}(?P<x>.+?){closing}\s*[.?!]*$".replace("\\ ", r"\s+"), re.IGNORECASE)
