"""Guard models as judges: one file a family, each with its prompt, its reader and its own categories.

A guard's raw reply is kept as the annotation's `text`; what it says in it is read again from there:
`read("llama_guard_4", text)` gives verdict and categories, `hazards` those categories in the words of
`schemas/taxonomy.json`. Adding one: a file with a factory and a reader, its lines here and in JUDGES, and its
categories in the taxonomy.

Covers: the documented reply of each guard, and nothing else. Doubt is `unknown`, and never harmless: a reply that is
cut off, contradicts itself or names no verdict. Does not cover: degrees (MD-Judge's rubric is a score), other models
that speak a guard's format by accident.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from engine.judges.guards.base import Reader, Reading, read_all
from engine.judges.taxonomy import hazards as meant_by

READERS: dict[str, str] = {
    "llama_guard_3_vision": "engine.judges.guards.llama_guard:read",
    "llama_guard_4": "engine.judges.guards.llama_guard:read",
    "llavaguard": "engine.judges.guards.llavaguard:read",
    "shieldgemma2": "engine.judges.guards.shieldgemma2:read",
    "md_judge": "engine.judges.guards.md_judge:read",
    "wildguard": "engine.judges.guards.wildguard:read",
}
"""Judge name -> the reader of its replies."""

__all__ = ["READERS", "Reading", "hazards", "read"]


def read(name: str, text: str) -> Reading:
    """What the guard's reply says. KeyError for a judge that is no guard."""
    module, _, function = READERS[name].partition(":")
    return read_all(text, cast(Reader, getattr(import_module(module), function)))


def hazards(name: str, text: str) -> tuple[str, ...]:
    """The hazards of the guard's categories in this reply, each once, in the taxonomy's words."""
    found = (hazard for category in read(name, text).categories for hazard in meant_by(name, category))
    return tuple(dict.fromkeys(found))
