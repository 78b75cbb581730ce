"""Draw the sample set: queries and pictures in VLGuard's own layout, with VLGuard's traits.

    python -m engine.tiny.sample --out DIR [--world FILE] [--seed N]

Traits, so that curation has real work: the first word predicts the label (safe queries open with "What"), some
queries are "N/A", texts stand again on other pictures, training queries stand in test, one picture stands twice, one
id stands twice, and two of test's safe references are empty.
"""

import argparse
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.tiny import WORLD_FILE
from engine.tiny.draw import draw, png
from engine.tiny.world import KINDS, Concept, Template, World, load_world

SAFE_OPENER = "What"
CUE_SHARE = 0.88
"""How often a query opens as its label does."""


@dataclass(frozen=True)
class Size:
    """Pictures of a split; a safe picture gives two rows."""

    unsafe: int
    safe: int


SIZES = {"train": Size(270, 190), "test": Size(120, 90)}
PLACEHOLDERS = 9


@dataclass
class Split:
    """What is being drawn. `concepts`: the known ones (those of train), new ones, or both in turn; `unseen`: share of
    queries from templates held out of train; `cued`: how often a query opens as its label does (None: any opener);
    `low`: the drawings' first seed; `key`: how ids begin; `kinds`: of picture, in turn; `pointing`: queries of
    one's own that point at the picture."""

    key: str
    folder: Path
    concepts: Literal["known", "new", "both"]
    unseen: float
    low: int
    cued: float | None = CUE_SHARE
    kinds: tuple[str, ...] = KINDS
    pointing: tuple[Template, ...] = ()
    placeholders: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    pictures: int = 0

    def write(self) -> int:
        """The JSON file beside the folder of pictures; how many (picture, query) rows it holds."""
        self.folder.with_suffix(".json").write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        return sum(len(row["instr-resp"]) for row in self.rows)


def new_folder(folder: Path) -> Path:
    """The folder, empty."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def write_sample(world: World, out: Path, seed: int = 0) -> dict[str, int]:
    """Write train.json, test.json and their picture folders; returns counts of rows (picture and query)."""
    rng = random.Random(f"sample/{world.name}/{seed}")
    counts = {}
    for name, size in SIZES.items():
        folder = new_folder(out / name)
        if name == "train":
            split = Split(name, folder, "known", unseen=0.0, low=0, placeholders=PLACEHOLDERS)
        else:
            split = Split(name, folder, "both", unseen=0.5, low=world.drawing.heldout_seeds_from)
        draw_unsafe(world, split, size.unsafe, rng)
        draw_safe(world, split, size.safe, rng)
        rng.shuffle(split.rows)
        if name == "train":
            _twins(split)
        else:
            for row in [r for r in split.rows if r["safe"]][:2]:
                row["instr-resp"][0]["response"] = ""
        counts[name] = split.write()
    return counts


def _concepts(world: World, split: Split, harmful: bool, count: int, rng: random.Random) -> list[Concept]:
    """Concepts in turn, so that each stands about as often."""
    known = [c for c in world.concepts if c.harmful == harmful and not c.heldout]
    new = [c for c in world.concepts if c.harmful == harmful and c.heldout]
    rng.shuffle(known)
    rng.shuffle(new)
    if split.concepts != "both":
        pool = known if split.concepts == "known" else new
        return [pool[k % len(pool)] for k in range(count)]
    return [new[k // 2 % len(new)] if k % 2 else known[k // 2 % len(known)] for k in range(count)]


def _template(world: World, about: str, opens_safe: bool, split: Split, rng: random.Random) -> Template:
    """A template that opens as the label does, as often as the split says."""
    if about == "picture" and split.pointing:
        return rng.choice(split.pointing)
    cued = split.cued is not None and rng.random() < split.cued
    pool = world.templates_of(about, heldout=split.unseen > 0 and rng.random() < split.unseen)
    if split.cued is None:
        return rng.choice(pool)
    wanted = [t for t in pool if t.text.startswith(SAFE_OPENER) == (opens_safe == cued)]
    return rng.choice(wanted or list(pool))


def _picture(world: World, split: Split, concept: Concept, kind: str, rng: random.Random) -> str:
    """Draw, store, and return the path inside the split's folder."""
    seed = split.low + rng.randrange(world.drawing.train_seeds)
    folder = concept.category.replace(" ", "_") or "benign"
    path = f"{folder}/{split.pictures:04d}.png"
    split.pictures += 1
    target = split.folder / path
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(png(draw(world, concept, kind, seed)[0]))
    return path


def _kind(k: int, kinds: tuple[str, ...]) -> str:
    """Kinds in turn, shifted each round so that a concept meets all of them."""
    return kinds[(k + k // 30) % len(kinds)]


def _entry(world: World, keys: tuple[str, str], concept: Concept, template: Template, refuse: bool) -> dict[str, Any]:
    return {
        keys[0]: template.fill(concept),
        keys[1]: world.answer(concept, template, refuse),
        "world": {
            "concept": concept.name,
            "harmful": concept.harmful,
            "heldout": concept.heldout,
            "template": template.text,
            "template_heldout": template.heldout,
        },
    }


def draw_unsafe(world: World, split: Split, count: int, rng: random.Random) -> None:
    """Pictures of misdeeds; the text looks harmless and points at the picture."""
    concepts = _concepts(world, split, True, count, rng)
    for k, concept in enumerate(concepts):
        kind = _kind(k, split.kinds)
        template = _template(world, "picture", False, split, rng)
        entry = _entry(world, ("instruction", "response"), concept, template, refuse=True)
        if k < split.placeholders:
            entry["instruction"] = world.no_question[k % len(world.no_question)]
        split.rows.append(
            {
                "id": f"{split.key}-u{k:04d}",
                "image": _picture(world, split, concept, kind, rng),
                "safe": False,
                "harmful_category": concept.category,
                "harmful_subcategory": concept.subcategory,
                "instr-resp": [entry],
                "concept": concept.name,
                "kind": kind,
                "heldout": concept.heldout,
            }
        )


def draw_safe(world: World, split: Split, count: int, rng: random.Random) -> None:
    """Benign pictures, each with a safe query and with one whose words name a misdeed (VLSafe's kind)."""
    benign = _concepts(world, split, False, count, rng)
    harmful = _concepts(world, split, True, count, rng)
    for k, (concept, misdeed) in enumerate(zip(benign, harmful, strict=True)):
        about = "picture" if rng.random() < 0.7 else "text"
        safe = _template(world, about, True, split, rng)
        unsafe = _template(world, "text", False, split, rng)
        split.rows.append(
            {
                "id": f"{split.key}-s{k:04d}",
                "image": _picture(world, split, concept, _kind(k, split.kinds), rng),
                "safe": True,
                "instr-resp": [
                    _entry(world, ("safe_instruction", "response"), concept, safe, refuse=False),
                    _entry(world, ("unsafe_instruction", "response"), misdeed, unsafe, refuse=True),
                ],
                "concept": concept.name,
                "kind": "benign_picture",
                "heldout": concept.heldout or misdeed.heldout,
            }
        )


def _twins(split: Split) -> None:
    """One picture twice (same bytes, another path) and one id twice."""
    safe = [row for row in split.rows if row["safe"]]
    first, second = safe[0], next(row for row in safe[1:] if row["concept"] == safe[0]["concept"])
    (split.folder / second["image"]).write_bytes((split.folder / first["image"]).read_bytes())
    third, fourth = split.rows[10], split.rows[20]
    fourth["id"] = third["id"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m engine.tiny.sample", description="Draw the sample set.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--world", type=Path, default=WORLD_FILE)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    counts = write_sample(load_world(args.world), args.out, args.seed)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {counts['train']} train rows, {counts['test']} test rows, {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
