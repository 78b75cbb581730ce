"""Records: one training row made from one transcript, as plain dicts of the pinned table schemas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]
PROVENANCE = (
    "run_id",
    "source",
    "source_key",
    "split",
    "category",
    "subcategory",
    "label_safe",
    "strategy",
    "preset",
    "model",
    "model_revision",
    "prompt_set_sha256",
    "eyes_closed",
    "final_verdict",
    "p_harmful",
    "final_p_harmful",
    "extra",
    "reviewed",
)
"""`reviewed`: a person's verdict (`curate --reviewed`), null where nobody looked. The note that they wrote is kept in
rejected/ only, which is never published."""


def prompt(transcript: Row) -> list[Row]:
    """The user turn as TRL and the Hub's viewers expect it: one entry a picture, then the text."""
    parts = [{"type": "image", "text": None} for _ in transcript["picture_sha256"]]
    return [{"role": "user", "content": [*parts, {"type": "text", "text": transcript["query"]}]}]


def reply(text: str) -> list[Row]:
    """The assistant turn."""
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def provenance(transcript: Row) -> Row:
    return {name: transcript[name] for name in PROVENANCE}


@dataclass(frozen=True, slots=True)
class Notes:
    """What curation found out about a kept row."""

    refusal: bool
    contrast_pair: str | None = None
    leaked_from: str | None = None


def sft(transcript: Row, images: list[Row], notes: Notes) -> Row:
    """A supervised row: the direct answer where it was judged harmless, the eyes-closed one where not."""
    asked, answered = prompt(transcript), reply(transcript["final_response"])
    return {
        "query_id": transcript["query_id"],
        "images": images,
        "messages": asked + answered,
        "prompt": asked,
        "completion": answered,
        "query": transcript["query"],
        "response": transcript["final_response"],
        "contains_harmful": False,
        "refusal": notes.refusal,
        "contrast_pair": notes.contrast_pair,
        "leaked_from": notes.leaked_from,
        **provenance(transcript),
    }


def mirror(transcript: Row, images: list[Row], refusal: str) -> Row:
    """A pair against over-refusal: a safe query's answer chosen, the refusal of its unsafe partner rejected."""
    return {
        "query_id": transcript["query_id"],
        "images": images,
        "prompt": prompt(transcript),
        "chosen": reply(transcript["final_response"]),
        "rejected": reply(refusal),
        "kind": "over_refusal",
        "margin": None,
        "contains_harmful": False,
        **provenance(transcript),
    }


def preference(transcript: Row, images: list[Row]) -> Row | None:
    """A pair for free: the model's harmful direct answer rejected, its own judged-again safe answer chosen."""
    again = transcript["eyes_closed"] or transcript["attempts"]  # a fixed refusal is no answer to prefer
    if transcript["direct_verdict"] != "harmful" or not again or not transcript["direct_response"]:
        return None
    before, after = transcript["p_harmful"], transcript["final_p_harmful"]
    judged = transcript["final_verdict"]  # harmful only where a person said otherwise: then p says nothing
    return {
        "query_id": transcript["query_id"],
        "images": images,
        "prompt": prompt(transcript),
        "chosen": reply(transcript["final_response"]),
        "rejected": reply(transcript["direct_response"]),
        "kind": "harm",
        "margin": None if before is None or after is None or judged == "harmful" else before - after,
        "contains_harmful": True,
        **provenance(transcript),
    }


def rejected(transcript: Row, reason: str, evidence: str | None, *, source_key: str | None = None) -> Row:
    """A row that was left out, and why."""
    row = {
        "query_id": transcript["query_id"],
        "reason": reason,
        "evidence": evidence,
        "stage": "curate",
        "query": transcript["query"],
        "response": transcript["final_response"],
        "picture_sha256": transcript["picture_sha256"],
        "error_stage": transcript["error_stage"],
        "error_type": transcript["error_type"],
        "error_message": transcript["error_message"],
        "review_note": transcript["review_note"],
        **provenance(transcript),
    }
    if source_key is not None:
        row["source_key"] = source_key
    return row
