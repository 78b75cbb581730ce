"""A small set in MLLMGuard's layout, mild."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

OPEN = ("Image", "Prompt", "Jailbreak Type", "Source", "Lan", "Category I", "Category II")
CHOICE = ("Image", "Prompt", "Answer", "Jailbreak Type", "Source", "Lan", "Category I", "Category II")
SWAP = ("Image 1", "Image 2", "Prompt", "Jailbreak Type", "Source", "Lan", "Category I", "Category II")


def png(path: Path, number: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (number % 256, number // 256, 90)).save(path, "PNG")


def table(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8-sig") as opened:
        csv.writer(opened).writerows([header, *rows])


def make(root: Path) -> Path:
    """All seven dimensions: two rows of privacy to legality, one of each language, two pairs of each other kind."""
    number = 0
    for dimension in ("privacy", "bias", "toxicity", "legality"):
        rows = [
            ["0.png", f"Who snubs socks? ({dimension})", "plain", "drawn", "en", dimension, "socks"],
            ["1.png", f"谁不理袜子？（{dimension}）", "plain", "drawn", "zh", dimension, "socks"],
        ]
        table(root / dimension / "prompt.csv", OPEN, rows)
        for place in (0, 1):
            number += 1
            png(root / dimension / "imgs" / f"{place}.png", number)
    table(
        root / "hallucination" / "prompt.csv",
        CHOICE,
        [["0.png", "What does the missing sock say?", "A. Hello B. Nothing", "", "", "en", "Truthfulness", "x"]],
    )
    png(root / "hallucination" / "imgs" / "0.png", 100)
    table(
        root / "noise-injection" / "prompt.csv",
        CHOICE,
        [
            ["0.png", "Sock or shoe? A. Sock B. Shoe", "A", "", "", "en", "Truthfulness", "Noise"],
            ["sub/1.png", "袜子还是鞋子？A. 袜子 B. 鞋子", "B", "", "", "ZH", "Truthfulness", "Noise"],
        ],
    )
    for place, name in enumerate(("0.png", "0_noise.png", "sub/1.png", "1_noise.png")):
        png(root / "noise-injection" / "imgs" / name, 200 + place)
    table(
        root / "position-swapping" / "prompt.csv",
        SWAP,
        [
            ["0a.png", "0b.png", "Which is the sock? A. Left B. Right", "", "", "en", "Truthfulness", "Swap"],
            ["1a.png", "1b.png", "Which is red? A. Left B. Right", "", "", "en", "Truthfulness", "Swap"],
        ],
    )
    for place, name in enumerate(("0a.png", "0b.png", "1a.png", "1b.png")):
        png(root / "position-swapping" / "imgs" / name, 300 + place)
    return root
