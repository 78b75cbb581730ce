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
    "keywords": "engine.judges.refusal:keywords",
    "llm": "engine.judges.llm:llm",
    "guard": "engine.judges.llm:guard",
    "fastchat": "engine.judges.fastchat:fastchat",
    "grade": "engine.judges.grade:grade",
    "world": "engine.judges.world:world",
    "llama_guard_3_vision": "engine.judges.guards.llama_guard:llama_guard_3_vision",
    "llama_guard_4": "engine.judges.guards.llama_guard:llama_guard_4",
    "llavaguard": "engine.judges.guards.llavaguard:llavaguard",
    "shieldgemma2": "engine.judges.guards.shieldgemma2:shieldgemma2",
    "md_judge": "engine.judges.guards.md_judge:md_judge",
    "wildguard": "engine.judges.guards.wildguard:wildguard",
    "guardrank": "engine.judges.guardrank:guardrank",
    "harm_detector": "engine.judges.harm_detector:harm_detector",
    "harm_detector_robust": "engine.judges.harm_detector:harm_detector_robust",
}
"""Name -> factory `(JudgeOptions) -> Judge`; imported only when asked for."""
FILE_JUDGES = frozenset(
    {
        *("fastchat", "guardrank"),
        *("llavaguard", "shieldgemma2", "md_judge", "wildguard", "harm_detector", "harm_detector_robust"),
    }
)
"""Judges that are made from a file, or may be (prompt, policy, adapter): `NAME=FILE` hands it to them. For other names
it brings in a Parquet file."""
TELLS_REFUSALS = frozenset({"keywords", "refusal", "refusal_llm", "world", "wildguard"})
"""Judges that tell a refusal from an answer, whether or not these answers hold one. The others tell harm."""
GRADES = frozenset({"grade"})
"""Judges that give a score and no verdict. `fastchat` does where its prompt asks for one."""

__all__ = ["FILE_JUDGES", "GRADES", "JUDGES", "TELLS_REFUSALS", "Judge", "JudgeOptions", "make"]


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
