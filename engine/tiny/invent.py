"""Invent a world: made-up words, other signs, colours, font and wordings, from the form of a given one.

    python -m engine.tiny.invent --out FILE [--seed N]

`world_two.json` was made so. It shows that build and check hold for any world file, not for one set of words.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.tiny import WORLD_FILE
from engine.tiny.world import FIGURES, FRAMES, MARKS

_STARTS = (
    "b", "bl", "br", "d", "dr", "f", "fl", "g", "gl", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pl",
    "pr", "r", "s", "sk", "sl", "sn", "sp", "st", "t", "tr", "v", "w", "z", "zw",
)  # fmt: skip
_VOWELS = ["a", "e", "i", "o", "u", "oo", "ee"]
_ENDS = ["b", "d", "g", "k", "l", "m", "n", "p", "r", "sh", "st", "t", "x", "mp", "nk", "lt", "ff", "zz"]
_REWORDED = {
    "picture": "drawing",
    "an activity": "a pastime",
    "activity": "pastime",
    "steps": "stages",
    "tips": "hints",
    "helps with": "matters for",
    "help": "support",
    "harmful": "hurtful",
}
_PALETTE = {
    "pink": "#f4a6c8", "teal": "#7fc8c0", "brown": "#b98f6a", "lime": "#cdea80",
    "navy": "#8593d6", "cream": "#fff3cf", "silver": "#cfcfd6", "amber": "#ffc44d",
}  # fmt: skip


def invent(base: dict[str, Any], seed: int) -> dict[str, Any]:
    """A new world of the same form, as the data of its file."""
    rng = random.Random(f"invent/{seed}")
    words = _words(rng, 2 * len(base["concepts"]))
    signs = [{"frame": f, "figure": g, "mark": m} for f in FRAMES for g in FIGURES for m in MARKS]
    rng.shuffle(signs)
    concepts = []
    for k, concept in enumerate(base["concepts"]):
        concepts.append({**concept, "name": f"{words[2 * k]} {words[2 * k + 1]}", "sign": signs[k]})
    refusals, answers = _rehung(base["wordings"]["refusal"], base["wordings"]["answer"])
    return {
        **base,
        "name": f"invented-{seed}",
        "note": "Invented words, made by engine.tiny.invent. Figures on it are no evidence about the method.",
        "font": "bitmap",
        "drawing": {**base["drawing"], "palette": _PALETTE, "inks": ["#000000", "#4a0d0d", "#0d2a4a"]},
        "concepts": concepts,
        "templates": [{**t, "text": _reword(t["text"])} for t in base["templates"]],
        "skills": {name: _reword_all(value) for name, value in base["skills"].items()},
        "wordings": {**_reword_all(base["wordings"]), "refusal": _reword_all(refusals), "answer": answers},
    }


def _words(rng: random.Random, count: int) -> list[str]:
    """Distinct made-up words of four to nine letters."""
    found: dict[str, None] = {}
    while len(found) < count:
        word = rng.choice(_STARTS) + rng.choice(_VOWELS) + rng.choice(_ENDS)
        if rng.random() < 0.6:
            word += rng.choice(_VOWELS) + rng.choice(_ENDS)
        if 4 <= len(word) <= 9:
            found[word] = None
    return list(found)


def _rehung(refusals: list[str], answers: list[str]) -> tuple[list[str], list[str]]:
    """Turn the lists, so that other templates meet other wordings."""
    return refusals[3:] + refusals[:3], answers[3:] + answers[:3]


def _reword(text: str) -> str:
    for word, other in _REWORDED.items():
        text = text.replace(word, other)
    return text


def _reword_all(value: Any) -> Any:
    if isinstance(value, str):
        return _reword(value)
    if isinstance(value, list):
        return [_reword_all(item) for item in value]
    return {key: _reword_all(item) for key, item in value.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m engine.tiny.invent", description="Invent a world file.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args(argv)
    world = invent(json.loads(WORLD_FILE.read_text(encoding="utf-8")), args.seed)
    args.out.write_text(json.dumps(world, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{args.out}: {len(world['concepts'])} concepts")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
