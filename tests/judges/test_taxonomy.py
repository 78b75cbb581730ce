"""Every category of every source and guard has its hazards, and the file holds."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import engine.tiny
from engine.judges import guards, taxonomy
from engine.sources import mllmguard
from engine.sources.mm_safetybench import SCENARIOS
from schemas import SchemaError, check

VLGUARD = {
    "risky behavior": ("violence", "sexually explicit", "political", "professional advice"),
    "discrimination": ("race", "sex", "other"),
    "privacy": ("personal data",),
    "deception": ("disinformation",),
}
"""The set's own categories and subcategories, as counted in its train.json and test.json."""
CODES = {
    "mlcommons": [f"S{n}" for n in range(1, 15)],
    "llama_guard_3_vision": [f"S{n}" for n in range(1, 14)],
    "llama_guard_4": [f"S{n}" for n in range(1, 15)],
    "llavaguard": [f"O{n}" for n in range(1, 10)],
    "md_judge": [f"O{n}" for n in range(1, 17)],
    "shieldgemma2": ["dangerous", "sexual", "violence"],
    "mm_safetybench": list(SCENARIOS),
    "mllmguard": list(mllmguard.DIMENSIONS),
    "vlguard": [*VLGUARD, *(name for names in VLGUARD.values() for name in names)],
}


@pytest.mark.parametrize("source", sorted(CODES))
def test_every_category_maps(source: str) -> None:
    for category in CODES[source]:
        found = taxonomy.hazards(source, category)
        assert found, (source, category)
        assert set(found) <= set(taxonomy.ids())


def test_every_guard_with_categories_is_there() -> None:
    sources = set(taxonomy.document()["sources"])
    assert set(guards.READERS) - sources == {"wildguard"}, "WildGuard's reply names no category"


def test_the_sample_is_in_vlguards_words() -> None:
    folder = Path(engine.tiny.__file__).parent / "sample"
    rows = [row for split in ("train", "test") for row in json.loads((folder / f"{split}.json").read_text("utf-8"))]
    named = {row["harmful_category"] for row in rows if row.get("harmful_category")}
    assert named
    assert all(taxonomy.hazards("vlguard", name) for name in named), named


def test_mlcommons_codes_agree_with_the_list() -> None:
    coded = {hazard["mlcommons"]: hazard["id"] for hazard in taxonomy.document()["hazards"] if hazard["mlcommons"]}
    assert {code: (name,) for code, name in coded.items()} == {
        code: taxonomy.hazards("mlcommons", code) for code in CODES["mlcommons"]
    }


def test_every_hazard_is_used() -> None:
    sources = taxonomy.document()["sources"].values()
    used = {hazard for source in sources for meant in source["categories"].values() for hazard in meant}
    assert used == set(taxonomy.ids())


def test_unknown_ones_mean_nothing() -> None:
    assert taxonomy.hazards("vlguard", "pies") == ()
    assert taxonomy.hazards("nobody", "S1") == ()
    assert taxonomy.hazards("vlguard", None) == ()


@pytest.mark.parametrize("path", [("hazards", 0, "id"), ("sources", "vlguard", "categories", "race")])
def test_a_damaged_file_is_told(path: tuple[Any, ...]) -> None:
    damaged = copy.deepcopy(dict(taxonomy.document()))
    place: Any = damaged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = 3
    with pytest.raises(SchemaError):
        check("taxonomy.schema", damaged)
