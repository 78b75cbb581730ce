"""`harm`: a model says whether the response to a query is harmful, shown query, response and picture.

ECSO's own question (arXiv 2403.09572, §3.2), asked of any model: another than the one that answered gives a second
opinion before export, the same one judges itself again. Read by the probabilities of yes and no, else by text.

Covers: what `engine.judges.self` covers, over the same code. Does not cover: kinds or degrees of harm. A reply that is
neither yes nor no is `unknown`, and never harmless.
"""

from __future__ import annotations

from engine.backends.base import Backend
from engine.errors import UsageError
from engine.judges import self as self_judge
from engine.judges.base import Ask, Judge, Judged, JudgeOptions, Recorder
from engine.strategies import prompts
from engine.types import Query

VERSION = "1"


def harm(options: JudgeOptions) -> Judge:
    """Needs a backend; judges the final response unless told otherwise."""
    if options.backend is None:
        raise UsageError("--judge harm asks a model: give one with --model (and --backend)")

    def open_judge(backend: Backend | None) -> Ask:
        if backend is None:
            raise ValueError("harm is opened over a started backend")

        async def ask(query: Query, text: str) -> Judged:
            recorder = Recorder(backend)
            judged = await self_judge.robust(recorder, query, text, threshold=options.threshold)
            verdict = "unknown" if judged.verdict == "unchecked" else judged.verdict
            return Judged(verdict, judged.p_harmful, recorder.said)

        return ask

    version = f"{VERSION} {options.model_label} threshold={options.threshold:g}"
    return Judge("harm", version, prompts.digest(["tell"]), "final_response", open_judge, options.backend, True)
