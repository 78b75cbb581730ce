"""Curation of a large run: rate, and peak memory of all its processes together.

    python -m benchmarks.curation [--rows 1000000] [--pictures 20000] [--workers 2]

The transcripts are made up: queries as in `benchmarks.dedup`, five steps each, four tenths judged harmful at first, 50
rows on a picture. Memory is the summed PSS of the command and all that it starts.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.dedup import Memory, made
from benchmarks.machine import header

BATCH = 5_000
Row = dict[str, Any]


def pictures(count: int) -> Iterator[Row]:
    """Rows of schemas/picture.json: noise of 24 x 24 pixels, JPEG."""
    from PIL import Image

    dice = random.Random(0)
    for number in range(count):
        buffer = io.BytesIO()
        Image.frombytes("RGB", (24, 24), dice.randbytes(24 * 24 * 3)).save(buffer, "JPEG")
        data = buffer.getvalue()
        sha = hashlib.sha256(data).hexdigest()
        image = {"bytes": data, "path": f"{number}.jpg"}
        yield {"picture_sha256": sha, "image": image, "width": 24, "height": 24, "format": "JPEG"}


def step(name: str, text: str, p: float | None = None, verdict: str | None = None) -> Row:
    return {
        "name": name, "attempt": 0, "with_pictures": name != "safe_answer", "prompt_sha256": "0" * 64, "text": text,
        "finish_reason": "stop", "prompt_tokens": 640, "cached_tokens": 576, "completion_tokens": 32, "max_tokens": 64,
        "temperature": 0.0, "top_p": 1.0, "seed": None, "label_logprobs": None, "p_harmful": p, "verdict": verdict,
        "seconds": 0.1,
    }  # fmt: skip


def transcript(number: int, text: str, sha: str) -> Row:
    """One row; its answers are words of its own text in another order."""
    dice = random.Random(number)
    words = text.rstrip("?.").split()
    harmful = number % 5 < 2
    direct, safe = (" ".join(dice.choices(words, k=24)) + f" {number}." for _ in range(2))
    p = dice.random() / 2 + harmful / 2
    verdict = "harmful" if harmful else "harmless"
    steps = [step("answer", direct), step("tell", "", p, verdict)]
    if harmful:
        steps += [step("caption", text), step("safe_answer", safe), step("retell", "", p / 10, "harmless")]
    return {
        "run_id": "made", "query_id": hashlib.sha256(f"{sha}{text}{number}".encode()).hexdigest(), "source": "made",
        "source_key": f"made:{number}", "source_index": number, "duplicate_keys": [], "split": "train",
        "category": f"category {number % 13}", "subcategory": None, "label_safe": not harmful, "reference": None,
        "extra": None, "query": text, "picture_sha256": [sha], "strategy": "ecso", "preset": "robust", "model": "made",
        "model_revision": None, "prompt_set_sha256": "0" * 64, "engine_version": "0", "status": "ok",
        "direct_response": direct, "direct_verdict": verdict, "p_harmful": p, "caption": text if harmful else None,
        "eyes_closed": harmful, "attempts": int(harmful), "final_response": safe if harmful else direct,
        "final_verdict": "harmless", "final_p_harmful": p / 10, "error_stage": None, "error_type": None,
        "error_message": None, "seconds": 0.5, "steps": steps,
    }  # fmt: skip


def make_run(out: Path, rows: int, picture_count: int) -> None:
    """A sealed run of made-up transcripts."""
    from engine.journal.manifest import write_manifest
    from engine.journal.store import Store
    from engine.parquet import TableWriter

    store = Store(str(out))
    store.ensure()
    files, shas = [], []
    with TableWriter(store, "pictures", "picture") as writer:
        for row in pictures(picture_count):
            writer.write([row])
            shas.append(row["picture_sha256"])
        files += [shard.entry() for shard in writer.close()]
    texts = made(rows).texts
    with TableWriter(store, "transcripts", "transcript") as writer:
        for start in range(0, rows, BATCH):
            numbers = range(start, min(start + BATCH, rows))
            writer.write([transcript(k, texts[k], shas[k * picture_count // rows]) for k in numbers])
        files = [shard.entry() for shard in writer.close()] + files
    counts = {"read": rows, "transcripts": rows, "duplicates": 0, "ok": rows, "unresolved": 0, "error": 0}
    write_manifest(
        store,
        {
            "kind": "generate",
            "schema_version": 1,
            "status": "complete",
            "run_id": "made",
            "fingerprint": "0" * 64,
            "fingerprint_fields": {},
            "engine_version": "0",
            "config": {"queries": "made", "strategy": "ecso"},
            "models": [{"role": "policy", "name": "made", "revision": None}],
            "scripted": True,
            "started_at": "2026-01-01T00:00:00+00:00",
            "finished_at": "2026-01-01T00:00:00+00:00",
            "counts": {**counts, "pictures": picture_count},
            "errors": {},
            "stats": {},
            "files": files,
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print(header(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        make = [
            sys.executable,
            "-c",
            "import sys; from benchmarks.curation import make_run; from pathlib import Path; ",
        ]
        make[-1] += "make_run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"
        subprocess.run([*make, str(run), str(arguments.rows), str(arguments.pictures)], check=True)
        memory, start = Memory(), time.perf_counter()
        command = [sys.executable, "-m", "engine.curate", str(run), "--workers", str(arguments.workers)]
        with memory.watched():
            done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
        seconds = time.perf_counter() - start
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        counts = json.loads((run / "curation.json").read_text())["counts"]
    size = f"{arguments.rows:,} transcripts, {arguments.pictures:,} pictures"
    print(f"{size}: {seconds:.0f} s, {arguments.rows / seconds:,.0f} rows/s")
    print(f"kept {counts['sft']:,}, rejected {counts['rejected']:,}, pairs {counts['preference']:,}")
    print(f"peak summed PSS {memory.peak_mib:,.0f} MiB")


if __name__ == "__main__":
    main()
