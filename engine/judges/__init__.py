"""Judges: (query, response) -> verdict. One file a judge.

`self` is the one inside a strategy. Those of JUDGES annotate a sealed run through `engine.annotate`.
"""

from __future__ import annotations

from dataclasses import replace

from engine import registry
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
    """The judge of that name. UsageError for an unknown one, and for options that it cannot work with.

    One from outside carries its distribution and code in its version: another release is another judge.
    """
    found = registry.find("judges", name, JUDGES)
    judge: Judge = found.make(options)
    if found.part is None:
        return judge
    if not isinstance(judge, Judge):
        raise UsageError(f"{found.part.words}: made a {type(judge).__name__}, expected an engine.judges.Judge")
    facts = found.part.facts()
    code = facts["code_sha256"][:8]
    version = f"{judge.version} {facts['distribution']} {facts['version']} ({facts['target']}, code={code})"
    return replace(judge, name=name, version=version)
