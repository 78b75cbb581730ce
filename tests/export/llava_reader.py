"""LLaVA-1.5's training reader in our own words: what its dataset class does with a JSON file, rule by rule.

The package is not on PyPI and pins an old torch, so its rules stand here (haotian-liu/LLaVA c121f04,
llava/train/train.py: LazySupervisedDataset, preprocess_multimodal, preprocess_v1; llava/mm_utils.py):
1. A row with `image` opens that one file under the image folder and converts it to RGB.
2. Each turn that holds `<image>` loses all of them, is stripped, and gets `<image>` and a newline in front.
3. Roles human and gpt alternate, human first (a first turn by gpt is dropped).
4. The prompt is `system USER: q ASSISTANT: a</s>USER: …`; it is cut into rounds at `</s>`, and a round into question
   and answer at ` ASSISTANT: `. A round that does not give exactly two parts ends the masking, the lengths no longer
   agree, and the whole row is ignored (with a printed warning only).
5. Each `<image>` becomes one picture slot; slots and pictures must agree, or the model's forward pass fails.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
TOKEN, STOP, CUT = "<image>", "</s>", " ASSISTANT: "


class Read(NamedTuple):
    """One row: the prompt, the texts that get a loss, picture slots, pictures (as RGB sizes)."""

    prompt: str
    learned: list[str]
    slots: int
    pictures: list[tuple[int, int]]


def read_file(path: Path, folder: Path) -> list[Read]:
    """Every row of the file. AssertionError where LLaVA's own code would raise."""
    return [_read(row, folder) for row in json.loads(path.read_text("utf-8"))]


def _read(row: dict[str, Any], folder: Path) -> Read:
    from PIL import Image

    pictures = []
    turns = [dict(turn) for turn in row["conversations"]]
    if "image" in row:
        with Image.open(folder / row["image"]) as image:
            pictures.append(image.convert("RGB").size)
        for turn in turns:
            if TOKEN in turn["value"]:
                turn["value"] = f"{TOKEN}\n{turn['value'].replace(TOKEN, '').strip()}".strip()
    if turns[0]["from"] != "human":
        turns = turns[1:]
    prompt = f"{SYSTEM} "
    for index, turn in enumerate(turns):
        assert turn["from"] == ("human", "gpt")[index % 2], f"{row['id']}: turn {index} is by {turn['from']}"
        prompt += f"USER: {turn['value']} " if index % 2 == 0 else f"ASSISTANT: {turn['value']}{STOP}"
    return Read(prompt, _learned(prompt), prompt.count(TOKEN), pictures)


def _learned(prompt: str) -> list[str]:
    learned = []
    for piece in prompt.split(STOP)[:-1]:
        parts = piece.split(CUT)
        if len(parts) != 2:
            return []
        learned.append(parts[1] + STOP)
    return learned
