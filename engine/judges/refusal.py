"""`refusal`, also `keywords`: whether the response refuses, by the house's own phrases (`engine.curation.refusal`).

Benchmarks that count words (VLGuard's string match) call an answer to an unsafe query harmless if and only if it is a
refusal. That is a rule of thumb: a kind answer without a refusal counts against the model, a refusal that is followed
by the harm counts for it. So say `keywords` beside such a rate, and read it beside a judge that understands.

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


def refusal(options: JudgeOptions) -> Judge:
    """Judges the final response unless told otherwise."""
    return _by_phrases("refusal", options)


def keywords(options: JudgeOptions) -> Judge:
    """The same under the name that benchmarks give it."""
    return _by_phrases("keywords", options)


def _by_phrases(name: str, options: JudgeOptions) -> Judge:  # noqa: ARG001 (nothing of it is needed)
    import engine.curation.refusal as phrases

    def open_judge(backend: Backend | None) -> Ask:  # noqa: ARG001

        async def ask(query: Query, text: str) -> Judged:  # noqa: ARG001
            found = phrases.refusal_evidence(text)
            return Judged("refused" if phrases.is_refusal(text) else "answered", None, found)

        return ask

    digest = hashlib.sha256(Path(phrases.__file__).read_bytes()).hexdigest()
    return Judge(name, VERSION, digest, "final_response", open_judge)
