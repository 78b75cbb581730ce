"""`refusal`: whether the response refuses, by the house's own list of phrases (`engine.curation.refusal`).

Covers and does not cover: what that module says. No model is asked; `text` is the phrase that decided. The list stands
in for the prompt: its file's hash is `prompt_sha256`, so a longer list is another judge.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.backends.base import Backend
from engine.judges.base import Ask, Judge, Judged, JudgeOptions
from engine.types import Query

VERSION = "1"


def refusal(options: JudgeOptions) -> Judge:  # noqa: ARG001 (the signature of a factory)
    """Judges the final response unless told otherwise."""
    import engine.curation.refusal as phrases

    def open_judge(backend: Backend | None) -> Ask:  # noqa: ARG001

        async def ask(query: Query, text: str) -> Judged:  # noqa: ARG001
            found = phrases.refusal_evidence(text)
            return Judged("refused" if phrases.is_refusal(text) else "answered", None, found)

        return ask

    digest = hashlib.sha256(Path(phrases.__file__).read_bytes()).hexdigest()
    return Judge("refusal", VERSION, digest, "final_response", open_judge)
