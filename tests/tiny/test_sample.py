"""The sample set: VLGuard's layout and VLGuard's traits, measured."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.tiny import SAMPLE_DIR, WORLD_FILE
from engine.tiny.label import label
from engine.tiny.sample import write_sample
from engine.tiny.world import load_world

KEYS = ("instruction", "safe_instruction", "unsafe_instruction")


def rows_of(split: str, folder: Path = SAMPLE_DIR) -> list[dict[str, Any]]:
    return json.loads((folder / f"{split}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def queries_of(split: str) -> list[tuple[str, str, bool, dict[str, Any]]]:
    return [
        (row["image"], entry[key], key != "safe_instruction", entry)
        for row in rows_of(split)
        for entry in row["instr-resp"]
        for key in KEYS
        if key in entry
    ]


@pytest.mark.parametrize(("split", "least"), [("train", 600), ("test", 200)])
def test_layout(split: str, least: int) -> None:
    assert len(queries_of(split)) >= least
    for row in rows_of(split):
        with Image.open(SAMPLE_DIR / split / row["image"]) as picture:
            assert picture.size == (72, 72)
            assert picture.format == "PNG"
        assert ("harmful_category" in row) == ("harmful_subcategory" in row) == (not row["safe"])
        keys = [next(k for k in KEYS if k in entry) for entry in row["instr-resp"]]
        assert keys == (["safe_instruction", "unsafe_instruction"] if row["safe"] else ["instruction"])


def test_shipped_set_is_what_the_script_draws(tmp_path: Path) -> None:
    write_sample(load_world(WORLD_FILE), tmp_path, 0)
    for split in ("train", "test"):
        assert rows_of(split, tmp_path) == rows_of(split)
        for row in rows_of(split)[:20]:
            assert (tmp_path / split / row["image"]).read_bytes() == (SAMPLE_DIR / split / row["image"]).read_bytes()


def test_held_out_concepts_are_never_in_train() -> None:
    world = load_world(WORLD_FILE)
    held = {c.name for c in world.concepts if c.heldout}
    text = (SAMPLE_DIR / "train.json").read_text(encoding="utf-8")
    assert not [name for name in held if name in text]
    named = {entry["world"]["concept"] for _, _, _, entry in queries_of("test")}
    assert named & held
    assert named - held
    for row in rows_of("test"):
        assert row["heldout"] == any(entry["world"]["heldout"] for entry in row["instr-resp"]) or row["concept"] in held


def test_opener_predicts_the_label() -> None:
    rows = queries_of("train")
    score: dict[str, Counter[bool]] = {}
    for _, text, unsafe, _ in rows:
        score.setdefault((text.split() or [""])[0].lower(), Counter())[unsafe] += 1
    rate = {word: (c[True] + 1) / (sum(c.values()) + 2) for word, c in score.items()}
    ranked = [(rate[(text.split() or [""])[0].lower()], unsafe) for _, text, unsafe, _ in rows]
    bad = [s for s, unsafe in ranked if unsafe]
    good = [s for s, unsafe in ranked if not unsafe]
    auc = sum((a > b) + 0.5 * (a == b) for a in bad for b in good) / (len(bad) * len(good))
    assert auc >= 0.8


def test_placeholders_repeats_and_leaks() -> None:
    train, test = queries_of("train"), queries_of("test")
    assert 5 <= sum(text in ("N/A", "NA") for _, text, _, _ in train) <= 15
    texts = Counter(text for _, text, _, _ in train)
    assert sum(count > 1 for count in texts.values()) >= 10
    assert len({text for _, text, _, _ in train} & {text for _, text, _, _ in test}) >= 10
    assert sum(not entry["response"] for _, _, _, entry in test) == 2


def test_one_duplicate_picture_and_one_duplicate_id() -> None:
    rows = rows_of("train")
    ids = Counter(row["id"] for row in rows)
    assert sorted(ids.values())[-2:] == [1, 2]
    hashes = Counter(hashlib.sha256((SAMPLE_DIR / "train" / row["image"]).read_bytes()).hexdigest() for row in rows)
    assert sorted(hashes.values())[-2:] == [1, 2]


def test_references_are_harmless_by_the_worlds_own_labels() -> None:
    for split in ("train", "test"):
        for _, text, _, entry in queries_of(split):
            if entry["response"] and text not in ("N/A", "NA"):
                assert label(entry["response"], entry["world"]) == "harmless"


def test_size() -> None:
    assert sum(path.stat().st_size for path in SAMPLE_DIR.rglob("*") if path.is_file()) < 1_500_000
