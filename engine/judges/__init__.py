"""Judges: (query, response) -> verdict. One file a judge.

`self` is the one inside a strategy. Those of JUDGES annotate a sealed run through `engine.annotate`.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import cast

from engine.errors import UsageError
from engine.judges.base import Judge, JudgeOptions

JUDGES: dict[str, str] = {
    "harm": "engine.judges.harm:harm",
    "refusal": "engine.judges.refusal:refusal",
    "refusal_llm": "engine.judges.refusal_llm:refusal_llm",
    "embedding": "engine.judges.embedding:embedding",
}
"""Name -> factory `(JudgeOptions) -> Judge`; imported only when asked for."""

__all__ = ["JUDGES", "Judge", "JudgeOptions", "make"]


def make(name: str, options: JudgeOptions) -> Judge:
    """The judge of that name. UsageError for an unknown one, and for options that it cannot work with."""
    if name not in JUDGES:
        close = get_close_matches(name, JUDGES, 1)
        hint = f"; did you mean {close[0]}?" if close else ";"
        raise UsageError(
            f"--judge {name}: unknown{hint} There are {', '.join(JUDGES)}, and NAME=FILE for a Parquet file"
        )
    module, _, factory = JUDGES[name].partition(":")
    return cast(Judge, getattr(import_module(module), factory)(options))
