"""Small stand-ins for the engine's commands: real sealed runs and real curation, no model.

`python -m tests.loop.stand_in COMMAND [RUN …] --config FILE` behaves as the command does for the loop: it reads its
section, writes its product last, and can be killed anywhere. A "model" is a folder whose training.json holds a quality.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.report.make import picture, seal, transcript

ROWS = 12
GAIN = {"ecso": 0.5, "reference": 0.6}


def rows(kind: str, strategy: str, count: int = ROWS) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Training queries (`train`) or held-out ones, answered by a strategy."""
    data = picture({"train": 1, "swapped": 2, "heldout": 2, "validation": 3}[kind])
    sha = hashlib.sha256(data).hexdigest()
    found = []
    for number in range(count):
        text = f"{kind} question number {number} about the small garden of the old house?"
        words = hashlib.sha256(f"{text}{strategy}".encode()).hexdigest()
        answer = f"Begin with {words[:6]} and {words[6:12]}, then go on to {words[12:18]} for a while."
        row = transcript(2 * number + 1, text, sha, category=None, label_safe=None, strategy=strategy)
        row |= {"query_id": hashlib.sha256(f"{text}{sha}".encode()).hexdigest(), "source_index": number}
        row |= {"final_response": answer, "direct_response": answer}
        if strategy == "reference":
            row |= {"final_verdict": "unchecked", "direct_response": None, "direct_verdict": None, "p_harmful": None}
        found.append(row)
    return found, [data]


def generate(section: Mapping[str, Any]) -> None:
    kind = "swapped" if section.get("queries") == "parquet" else "train"
    found, data = rows(kind, section["strategy"])
    leaked = {"leaky": "heldout", "leaky-validation": "validation"}.get(str(section.get("split")))
    if leaked:
        more, pictures = rows(leaked, section["strategy"], 2)
        found, data = found + more, list(dict.fromkeys(data + pictures))
    for row in found:
        row["run_id"] = f"run-{section['strategy']}-{kind}"
    seal(Path(section["out"]), found, data, run_id=f"run-{section['strategy']}-{kind}")


def curate(section: Mapping[str, Any], runs: Sequence[str]) -> None:
    from engine.config import CurateConfig
    from engine.curation.curate import curate as really

    really(list(runs), CurateConfig(**{**section, "report": False}))


def train(section: Mapping[str, Any]) -> None:
    """Quality rises with the data: reference answers help a little more; a candidate's `lr` is its quality."""
    out, data = Path(section["out"]), Path(section["data"])
    out.mkdir(parents=True, exist_ok=True)
    kind = "reference" if data.name == "matched" else "ecso"
    quality = min(1.0, quality_of(section["model"]) + GAIN[kind] + 0.02 * section["seed"] + (section.get("lr") or 0))
    (out / "training.json").write_text(json.dumps({"kind": "train", "quality": quality, "told": dict(section)}))


def quality_of(model: str) -> float:
    file = Path(model, "training.json")
    return float(json.loads(file.read_text())["quality"]) if file.is_file() else 0.05


def evaluate(section: Mapping[str, Any]) -> None:
    out = Path(section["out"])
    found, data = rows("validation" if "validation" in " ".join(section["benchmark"]) else "heldout", "direct")
    run = out / "runs" / "known-test-direct"
    if not (run / "manifest.json").is_file():
        seal(run, found, data)
    quality = quality_of(section["model"])
    metrics = []
    for strategy in section["strategy"]:
        value = min(1.0, quality + (0.8 if strategy == "ecso" else 0.0))
        metrics += [
            metric(strategy, "harmless_rate", "all", value),
            metric(strategy, "refusal_rate", "safe", value / 5),
        ]
        metrics.append(metric(strategy, "harmless_rate", "macro", value, unparsed=2, errors=1))
        metrics.append(metric(strategy, "accuracy", "all", 0.9 - value / 20, benchmark="mme", judge=None))
    (out / "scores.json").write_text(json.dumps({"kind": "scores", "metrics": metrics}))


def metric(strategy: str, name: str, group: str, value: float, **changes: Any) -> dict[str, Any]:
    shown = {"benchmark": "vlguard@known", "part": "test", "judge": "world", "version": "1", "same_model": False}
    low, high = max(0.0, value - 0.1), min(1.0, value + 0.1)
    figures = {"value": value, "n": 100, "hits": 100 * value, "low": low, "high": high, "unit": "share"}
    return {
        "strategy": strategy,
        "name": name,
        "group": group,
        **shown,
        **figures,
        "unparsed": 0,
        "errors": 0,
        **changes,
    }


COMMANDS = {"generate": generate, "train": train, "evaluate": evaluate}


def run_stage(command: str, section: Mapping[str, Any], runs: Sequence[str]) -> None:
    """One stage, in this process."""
    if command == "curate":
        curate(section, runs)
    else:
        COMMANDS[command](section)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--config")
    given = parser.parse_args()
    section = yaml.safe_load(Path(given.config).read_text())[given.command]
    time.sleep(float(os.environ.get("STAND_IN_SLEEP", "0")))
    run_stage(given.command, section, given.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
