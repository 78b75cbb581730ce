"""`grade`: a language model compares the response with the source's own answer and gives 0.0 to 1.0.

The idea of MM-Vet's grader (arXiv 2308.02490): a few graded examples in a table whose last cell is open, in our own
words; `<AND>` joins what must all be there, `<OR>` what may stand for another. The truth is the row's reference, or
`answer` of its further columns. The picture is not shown.

Covers: replies that open with a number from 0 to 1, a reasoning model's after its thought. Does not cover: rows without
a truth, and replies without such a number after TRIES; both are `unknown` and have no score, which counts as 0 where
scores are averaged.
"""

from __future__ import annotations

import json
from dataclasses import replace

from engine.backends.base import Backend
from engine.errors import UsageError
from engine.judges.base import Ask, Judge, Judged, JudgeOptions, sha256
from engine.judges.llm import LONGEST, prompt
from engine.judges.verdicts import share
from engine.strategies.prompts import fill
from engine.types import Message, Query, Sampling

VERSION = "2"
TRIES = 3
"""A reply that is no number is asked for again, warmer each time, as MM-Vet's grader does."""
WARMER = 0.5


def grade(options: JudgeOptions) -> Judge:
    """Needs a backend; judges the final response unless told otherwise."""
    if options.backend is None:
        raise UsageError("--judge grade asks a model: name one (annotate: --model, evaluate: --judge-model)")
    seed = options.backend.seed

    def open_judge(backend: Backend | None) -> Ask:
        if backend is None:
            raise ValueError("grade is opened over a started backend")

        async def ask(query: Query, text: str) -> Judged:
            truth = truth_of(query)
            if truth is None:
                return Judged("unknown", text="the row has no answer to compare with")
            filled = fill(prompt("grade"), query=_cell(query.text), truth=_cell(truth), response=_cell(text))
            said = ""
            for attempt in range(TRIES):
                sampling = Sampling(max_tokens=LONGEST, temperature=WARMER * attempt, seed=seed + attempt)
                said = (await backend.generate([Message("user", filled)], sampling)).text
                found = share(said)
                if found is not None:
                    return Judged(None, text=said, score=found)
            return Judged("unknown", text=said)

        return ask

    version = f"{VERSION} {options.model_label} seed={seed} max_tokens={LONGEST}"
    backend_config = replace(options.backend, longest_answer=LONGEST)
    return Judge("grade", version, sha256(prompt("grade")), "final_response", open_judge, backend_config)


def truth_of(query: Query) -> str | None:
    """The row's reference, or `answer` of its further columns."""
    if query.reference:
        return query.reference
    found = json.loads(query.extra or "{}").get("answer")
    return str(found) if found not in (None, "") else None


def _cell(text: str) -> str:
    """A text as one cell of the table: no line breaks, and no cell borders of its own."""
    return " ".join(text.replace("|", "/").split())
