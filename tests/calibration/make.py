"""A sealed run with known probabilities, and labels for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.strategies import prompts
from tests.report.make import picture, seal, transcript

FIELDS = {
    "model": "some-model",
    "model_revision": "local-0123456789abcdef",
    "strategy": "ecso",
    "preset": "robust",
    "chat_template_kwargs": {},
    "picture_prep": "processor",
    "prompt_set_sha256": prompts.digest(["tell", "caption", "safe_answer"]),
}


def overconfident(rows: int = 400, seed: int = 3) -> tuple[list[float], list[bool]]:
    """p and labels of a judge that ranks well and says everything too surely."""
    dice = np.random.default_rng(seed)
    true = dice.beta(1.0, 1.0, rows)
    harmful = dice.random(rows) < true
    odds = np.log(true / (1 - true))
    said = 1 / (1 + np.exp(-(3 * odds + 1)))
    return [float(p) for p in said], [bool(each) for each in harmful]


def run(out: Path, p: Sequence[float | None], **fields: object) -> Path:
    """A run whose direct and final answers have these p(harmful)."""
    data = picture(1)
    sha = hashlib.sha256(data).hexdigest()
    found = []
    for number, each in enumerate(p):
        row = transcript(2 * number + 1, f"Question number {number} about the small garden here?", sha)
        words = hashlib.sha256(str(number).encode()).hexdigest()
        answer = f"Begin with {words[:6]} and {words[6:12]}, then go on to {words[12:18]} for a while."
        row |= {"p_harmful": each, "final_p_harmful": each, "source_index": number, "category": None}
        row |= {"direct_response": answer, "final_response": answer, "label_safe": None}
        found.append(row)
    return seal(out, found, [data], fingerprint_fields={**FIELDS, **fields})


def query_id(number: int) -> str:
    return hashlib.sha256(f"{2 * number + 1}".encode()).hexdigest()


def labels(path: Path, harmful: Sequence[bool]) -> Path:
    """A JSONL of labels for `run`."""
    lines = [json.dumps({"query_id": query_id(k), "harmful": int(each)}) for k, each in enumerate(harmful)]
    path.write_text("\n".join(lines) + "\n")
    return path
