"""truncated: answers that stop because the token limit was reached.

Covers: the step that wrote the final answer ended with finish reason "length" (or a backend's own word for it).
Does not cover: answers that break off although the model ended them itself; a cut caption or verdict (they are not
what is trained on); answers that were put together sentence by sentence (`eta`); runs of backends that report no finish
reason.
Default: on: half a sentence teaches a model to stop anywhere. `reasons` holds the words that mean "cut".
"""

from __future__ import annotations

from typing import Any

from engine.curation.filters.base import Drop, Filter, Row, response
from engine.curation.filters.text import snippet

JUDGING = ("tell", "retell", "detect", "redetect", "caption", "transcribe", "post_check", "pre_check", "reward")
"""Steps whose text is never the answer."""
IN_PARTS = "sentence"
"""Of `eta`: each is cut behind its first sentence, so its own finish reason says nothing."""


def truncated(
    reasons: tuple[str, ...] = ("length", "max_tokens", "token_limit", "max_length", "model_length"),
) -> Filter:
    """`reasons`: finish reasons that mean the limit was reached, in any case."""
    cut = {reason.lower() for reason in reasons}

    def run(row: Row) -> Drop | None:
        step = _writer(row)
        if step is None or str(step.get("finish_reason")).lower() not in cut:
            return None
        text = response(row)
        return Drop("truncated", f"{step.get('name')}: {step.get('finish_reason')}, ends: {snippet(text[-60:])}")

    return run


def _writer(row: Row) -> dict[str, Any] | None:
    """The step that wrote the final answer: the last with its text, else the last that writes answers."""
    steps = [step for step in row.get("steps") or () if step.get("name") not in JUDGING]
    if any(step.get("name") == IN_PARTS for step in steps):
        return None
    final = _clean(response(row))
    same = [step for step in steps if _clean(step.get("text") or "") == final]
    found = same or steps
    return found[-1] if found else None


def _clean(text: str) -> str:
    return text.strip().removesuffix("</s>").strip()
