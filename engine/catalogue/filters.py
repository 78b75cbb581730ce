"""Cards of the filters (`engine.curation.filters.FILTERS`). None asks a model; options and figures: docs/filters.md."""

from __future__ import annotations

from engine.catalogue.cards import Card

HERE = "this project (docs/filters.md)"

CARDS: dict[str, Card] = {
    "verdict": Card("rows without an answer that may be trained on", HERE),
    "length": Card("empty, too short and very long answers", HERE),
    "truncated": Card("answers that hit the token limit", HERE),
    "placeholder_query": Card('queries such as "N/A", "TODO", "{question}"', HERE),
    "repetition": Card("loops of characters, words, phrases, sentences", HERE),
    "echo": Card("prompts or the query again in place of an answer", HERE),
    "caption_copy": Card("the caption as the answer", HERE),
    "hint_leak": Card("eyes-closed answers that name the hints or the caption", HERE),
    "blindness": Card('"I cannot see the image" on a row that carries one', HERE),
    "identity": Card("claims about the answerer's maker or name", HERE),
    "over_refusal": Card(
        "refusals where the source says safe", HERE, needs="labels of the source; a refusal judge's annotation helps"
    ),
    "language": Card(
        "answers in another language than their query", HERE, needs="py3langid (installed with the engine)"
    ),
    "unrelated": Card("eyes-closed answers without a word of query, caption or direct answer", HERE),
    "pii": Card(
        "mail, phone, IP and card numbers", HERE, needs="phonenumberslite, email-validator (installed with the engine)"
    ),
    "picture_quality": Card("tiny, blank and unreadable pictures; off unless named", HERE, needs="the run's pictures"),
}
