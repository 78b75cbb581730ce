"""Small sealed and curated runs for the report's tests, written with the engine's own writers."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from engine.config import CurateConfig
from engine.curation.curate import curate
from engine.journal.manifest import write_manifest
from engine.journal.store import Store
from engine.parquet import TableWriter
from engine.version import version

Row = dict[str, Any]
NASTY = [
    "<script>alert(1)</script>",
    "</style><script>alert(2)</script>",
    '" onerror="alert(3)" x="',
    "' onmouseover='alert(4)",
    "javascript:alert(5)",
    "<img src=x onerror=alert(6)>",
    "{{ 7 * 7 }} {% raw %}",
    "]]><!-- -->",
    "\u202etxt.exe",
]


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> bytes:
    """A drawn picture as PNG bytes."""
    dice = random.Random(seed)
    image = Image.new("RGB", size, tuple(dice.randrange(120, 256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, side = dice.randrange(size[0]), dice.randrange(size[1]), dice.randrange(10, 90)
        draw.ellipse((x, y, x + side, y + side), fill=tuple(dice.randrange(256) for _ in range(3)))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def step(name: str, text: str, *, attempt: int = 0, p: float | None = None, verdict: str | None = None) -> Row:
    return {
        "name": name,
        "attempt": attempt,
        "with_pictures": name != "safe_answer",
        "prompt_sha256": "0" * 64,
        "text": text,
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "cached_tokens": None,
        "completion_tokens": 5,
        "max_tokens": 64,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
        "label_logprobs": None,
        "p_harmful": p,
        "verdict": verdict,
        "seconds": 0.1,
    }


def transcript(number: int, query: str, sha: str | None, **changes: Any) -> Row:
    """A row whose direct answer was judged harmful at an even number, harmless at an odd one."""
    harmful = number % 2 == 0
    p = 0.5 + 0.49 * ((number % 7) / 7) if harmful else 0.45 * ((number % 5) / 5)
    direct, safe = f"direct answer {number}", f"safe answer {number}"
    steps = [step("answer", direct), step("tell", "yes" if harmful else "no", p=p, verdict=verdict(harmful))]
    if harmful:
        steps += [step("caption", f"caption {number}"), step("safe_answer", safe)]
        steps += [step("retell", "no", p=0.02, verdict="harmless")]
    row = {
        "run_id": "run-1",
        "query_id": hashlib.sha256(f"{number}".encode()).hexdigest(),
        "source": "folder",
        "source_key": f"queries.json:{number}",
        "source_index": number,
        "duplicate_keys": [],
        "split": "train",
        "category": ("pie flinging", "diary peeking", None)[number % 3],
        "subcategory": None,
        "label_safe": (False, True, None)[number % 3],
        "reference": None,
        "extra": None,
        "query": query,
        "picture_sha256": [sha] if sha else [],
        "strategy": "ecso",
        "preset": "robust",
        "model": "some-model",
        "model_revision": None,
        "prompt_set_sha256": "0" * 64,
        "engine_version": version(),
        "status": "ok",
        "direct_response": direct,
        "direct_verdict": verdict(harmful),
        "p_harmful": p,
        "caption": f"caption {number}" if harmful else None,
        "eyes_closed": harmful,
        "attempts": int(harmful),
        "final_response": safe if harmful else direct,
        "final_verdict": "harmless",
        "final_p_harmful": 0.02 if harmful else p,
        "error_stage": None,
        "error_type": None,
        "error_message": None,
        "seconds": 0.5,
        "steps": steps,
    }
    return {**row, **changes}


def verdict(harmful: bool) -> str:
    return "harmful" if harmful else "harmless"


def seal(out: Path, rows: Sequence[Row], pictures: Sequence[bytes], shards: int = 1, **changes: Any) -> Path:
    """A sealed run of these transcripts (in so many shards) and pictures."""
    store = Store(str(out))
    store.ensure()
    files = []
    for shard in range(shards):
        part = rows[len(rows) * shard // shards : len(rows) * (shard + 1) // shards]
        name = f"{shard}-"
        with TableWriter(store, "transcripts", "transcript", name_prefix=name, row_group_bytes=40_000) as writer:
            for row in part:
                writer.write([row])
            files += [made.entry() for made in writer.close()]
    with TableWriter(store, "pictures", "picture", row_group_bytes=20_000) as writer:
        for data in pictures:
            writer.write([_picture_row(data)])
        files += [shard.entry() for shard in writer.close()]
    counts = {"read": len(rows), "transcripts": len(rows), "duplicates": 0, "ok": 0, "unresolved": 0, "error": 0}
    for row in rows:
        counts[row["status"]] += 1
    manifest = {
        "kind": "generate",
        "schema_version": 1,
        "status": "complete",
        "run_id": "run-1",
        "fingerprint": "0" * 64,
        "fingerprint_fields": {},
        "engine_version": version(),
        "config": {"queries": "folder", "strategy": "ecso", "preset": "robust"},
        "models": [{"role": "policy", "name": "some-model", "revision": None}],
        "scripted": False,
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:01:00+00:00",
        "counts": {**counts, "pictures": len(pictures)},
        "errors": {},
        "stats": {},
        "files": files,
    }
    write_manifest(store, {**manifest, **changes})
    return out


def _picture_row(data: bytes) -> Row:
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    sha = hashlib.sha256(data).hexdigest()
    return {
        "picture_sha256": sha,
        "image": {"bytes": data, "path": f"{sha[:8]}.png"},
        "width": width,
        "height": height,
        "format": "PNG",
    }


def small_run(out: Path, rows: int = 40) -> Path:
    """A sealed run: the nasty queries first, three rejected rows, an unknown verdict, an error."""
    pictures = [picture(number) for number in range(6)]
    shas = [hashlib.sha256(data).hexdigest() for data in pictures]
    texts = [*NASTY, *(f"how does pie flinging number {number} work?" for number in range(rows))][:rows]
    found = [transcript(number, text, shas[number % 6]) for number, text in enumerate(texts)]
    found[-1] |= {"status": "unresolved", "final_verdict": "unknown", "final_p_harmful": None}
    found[-2] |= {"status": "unresolved", "final_verdict": "harmful", "final_p_harmful": 0.9}
    found[-3] |= {
        "status": "error",
        "error_stage": "tell",
        "error_type": "RequestError",
        "error_message": "<b>boom</b>",
    }
    found[-3] |= {"final_verdict": "unknown", "direct_verdict": None, "final_response": None, "p_harmful": None}
    return seal(out, found, pictures)


def curated_run(out: Path, rows: int = 40, *, full: bool = True) -> Path:
    """A sealed and curated run; with `full`, its sections are replaced by fuller ones made by hand."""
    small_run(out, rows)
    curate(str(out), CurateConfig())
    if full:
        edit(out, lambda document: document | sections(out, document))
    return out


def edit(out: Path, change: Any) -> None:
    """Rewrite curation.json."""
    path = out / "curation.json"
    path.write_text(json.dumps(change(json.loads(path.read_text("utf-8")))), "utf-8")


def sections(out: Path, document: Row) -> Row:
    """All sections of the seam, made by hand, about rows that this run holds."""
    import pyarrow.parquet as pq

    ids = [
        row["query_id"]
        for file in sorted((out / "transcripts").iterdir())
        for row in pq.read_table(file, columns=["query_id"]).to_pylist()
    ]
    read = document["counts"]["read"]
    return {
        "funnel": funnel(read),
        "cues": {"before": cues(0.91), "after": cues(0.62)},
        "cues_note": None,
        "diversity": diversity(read),
        "duplicates": {
            "exact": 2,
            "text": 1,
            "picture": 1,
            "text+picture": 3,
            "semantic": 0,
            "clusters": [
                {
                    "kept": ids[0],
                    "dropped": [member(ids[6], "picture", 1.0, 7), member(ids[11], "text+picture", 0.86, 3)],
                },
                {"kept": ids[1], "dropped": [member(ids[7], "exact", 1.0, 0), member("f" * 64, "text", 0.91, 0)]},
            ],
        },
        "leakage": {
            "action": "drop",
            "indexes": ["vlguard-test", "mm-safetybench"],
            "matched": 2,
            "pairs": [
                {"query_id": ids[3], "benchmark": "vlguard-test", "key": "t-114", "kind": "text", "similarity": 1.0},
                {"query_id": ids[4], "benchmark": NASTY[0], "key": NASTY[2], "kind": "picture", "similarity": 0.97},
            ],
        },
    }


def member(query_id: str, kind: str, similarity: float, distance: int) -> Row:
    return {"query_id": query_id, "kind": kind, "similarity": similarity, "distance": distance}


def funnel(read: int) -> list[Row]:
    """Six steps over four categories and two sources that add up."""
    names = ["verdict", "text_length", "hint_leakage", "near_duplicates", "response_cap", "balance"]
    per = {
        "pie flinging": read // 4,
        "diary peeking": read // 4,
        "queue jumping": read // 4,
        NASTY[0]: read - 3 * (read // 4),
    }
    steps, rows_in = [], read
    for place, name in enumerate(names):
        loses = list(per)[place % 4]
        dropped = min(per[loses], max(1, read // (30 * (place + 1))))
        after = {**per, loses: per[loses] - dropped}
        reasons = {f"{name}_a": dropped - dropped // 3, f"{name}_b": dropped // 3}
        steps.append(
            {
                "step": name,
                "rows_in": rows_in,
                "dropped": dropped,
                "rows_out": rows_in - dropped,
                "reasons": reasons,
                "per_category": {key: [per[key], after[key]] for key in per},
                "per_source": {"folder": [rows_in, rows_in - dropped]},
            }
        )
        per, rows_in = after, rows_in - dropped
    return steps


def cues(auc: float) -> Row:
    words = [("can you", 94, 81), ("how do", 88, 61), (NASTY[1], 51, 20), ("what is", 120, 9), ("describe", 60, 1)]
    return {
        "auc": auc,
        "n": 413,
        "n_refused": 172,
        "folds": 5,
        "top": [{"cue": cue, "rows": n, "refused": hit, "share": hit / n} for cue, n, hit in words],
    }


def diversity(read: int) -> Row:
    examples = [
        "I have to say no, as it is harmful.",
        "Sorry, that would hurt someone.",
        NASTY[5],
        "First mix the dough.",
    ]
    sizes = [read // 2, read // 5, read // 10, read // 20]
    clusters = [
        {
            "size": size,
            "kept": min(size, read // 4),
            "share": size / read,
            "example": example,
            "categories": {"pie flinging": size - size // 3, "diary peeking": size // 3},
        }
        for size, example in zip(sizes, examples, strict=True)
    ]
    capped = sum(each["size"] - each["kept"] for each in clusters)
    return {
        "distinct_1": 0.041,
        "distinct_2": 0.112,
        "distinct_3": 0.187,
        "rows": read,
        "clusters": clusters,
        "capped": capped,
    }
