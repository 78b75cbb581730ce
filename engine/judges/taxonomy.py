"""One list of hazards (`schemas/taxonomy.json`), and every source's and guard's categories in its words.

So that verdicts of guards that count differently, and rows of benchmarks that group differently, stand in one table.
Covers: VLGuard, MM-SafetyBench, MLLMGuard, FigStep, MLCommons' hazards and the guards' own categories. Does not cover:
which of two categories weighs more; a category may mean several hazards.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from schemas import check, load


@cache
def document() -> Mapping[str, Any]:
    """The taxonomy, checked against `schemas/taxonomy.schema.json`, its references against its own list.

    Raises ValueError where it does not hold.
    """
    found = load("taxonomy")
    check("taxonomy.schema", found, where="schemas/taxonomy.json")
    known = {hazard["id"] for hazard in found["hazards"]}
    if len(known) != len(found["hazards"]):
        raise ValueError("schemas/taxonomy.json: a hazard stands twice")
    for name, source in found["sources"].items():
        for category, meant in source["categories"].items():
            unknown = set(meant) - known
            if unknown:
                raise ValueError(f"schemas/taxonomy.json: {name}: {category}: no hazard {sorted(unknown)[0]}")
    return found


def ids() -> tuple[str, ...]:
    """The hazards, in the list's order."""
    return tuple(hazard["id"] for hazard in document()["hazards"])


def hazards(source: str, category: str | None) -> tuple[str, ...]:
    """The hazards that a source's category means; () for an unknown source or category."""
    categories = document()["sources"].get(source, {}).get("categories", {})
    return tuple(categories.get(category or "", ()))
