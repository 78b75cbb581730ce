"""Every filter and every later step fires in one curation, with its reason and evidence, and all of it adds up."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from engine.config import CurateConfig
from engine.curation.filters import FILTERS
from engine.curation.leakage import build
from engine.curation.leakage.file import save
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.judges import imported
from engine.judges.files import run_ids
from pipelines.curation import run
from tests.curation.filters.planted_rows import cases
from tests.curation.test_curate import LONG, REFUSAL, rows, varied
from tests.report.make import picture, seal, step

CARD = "What is written on the secret benchmark card of the green hill?"
OTHERS = {
    "duplicate_query": "source",
    "duplicate_exact": "duplicates",
    "duplicate_text": "duplicates",
    "duplicate_picture": "duplicates",
    "duplicate_text+picture": "duplicates",
    "duplicate_semantic": "duplicates",
    "leakage": "leakage",
    "response_cap": "response_cap",
    "category_cap": "category_cap",
    "source_cap": "source_cap",
    "category_share": "category_cap",
    "safe_to_unsafe": "safe_to_unsafe",
    "reviewed": "reviewed",
}


def planted(shas: list[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A held-out defect of every filter as a transcript; query id -> filter."""
    made, of = [], {}
    for number, name in enumerate(FILTERS):
        if name == "picture_quality":
            row = varied(900, "What can be learned from this tiny thing?", shas[-1])
        else:
            found = next(row for row, drop in cases("heldout", name) if drop)
            keep = ("query", "final_response", "caption", "direct_response", "status", "final_verdict", "label_safe")
            changes = {key: found[key] for key in (*keep, "eyes_closed", "error_message") if key in found}
            text = changes.pop("query") if name != "truncated" else "How do I bake the apples for the cake?"
            row = varied(900 + number, text, shas[number % 10])
            row |= changes
            row["query_id"] = hashlib.sha256(name.encode()).hexdigest()
            if name == "truncated":
                row["steps"] = [step("answer", row["final_response"]) | {"finish_reason": "length"}]
        made.append(row)
        of[row["query_id"]] = name
    return made, of


def late(shas: list[str]) -> list[dict[str, Any]]:
    """Rows for the steps after the filters."""
    texts = [(LONG, 0), (LONG.upper() + "?", 0), (LONG.replace("village", "valley"), 0), (LONG, 1)]
    texts += [(LONG.replace("village", "town"), 1), ("Who was it that made that old bench back there?", 0), (CARD, 3)]
    found = [varied(k, text, shas[shown], final_p_harmful=0.01) for k, (text, shown) in enumerate(texts)]
    for k in range(7, 87):
        text = f"Please tell me about {hashlib.sha256(str(k).encode()).hexdigest()[:9]} in this picture"
        changes: dict[str, Any] = {"category": ("pies", "diaries", "socks")[k % 3], "label_safe": k % 2 == 0}
        if k % 4 == 1:
            changes |= {"final_response": REFUSAL, "source": "other"}
        found.append(varied(k, text, shas[2 + k % 9], **changes))
    found[-1]["duplicate_keys"] = ["queries.json:99"]
    return found


def test_every_step_fires(tmp_path: Path) -> None:
    first, tiny, copy = picture(1), io.BytesIO(), io.BytesIO()
    Image.open(io.BytesIO(first)).save(copy, "JPEG", quality=92)
    Image.new("RGB", (6, 6), "red").save(tiny, "PNG")
    data = [first, copy.getvalue(), *(picture(number) for number in range(2, 12)), tiny.getvalue()]
    shas = [hashlib.sha256(each).hexdigest() for each in data]
    defects, of = planted(shas)
    made = late(shas) + defects
    for number, row in enumerate(made):
        row["source_index"] = number
    out = seal(tmp_path / "run", made, data, shards=3)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["counts"] |= {"read": len(made) + 1, "duplicates": 1}
    (out / "manifest.json").write_text(json.dumps(manifest))
    vectors(out, {made[0]["query_id"]: [1.0, 0.0], made[5]["query_id"]: [1.0, 0.01]})
    (tmp_path / "q.json").write_text(json.dumps([{"question": CARD}]))
    save(build(tmp_path / "q.json", "cards"), tmp_path / "card.leak")
    said = {"query_id": made[30]["query_id"], "verdict": "harmful", "note": "rude"}
    (tmp_path / "review.jsonl").write_text(json.dumps(said) + "\n")
    document = run(
        str(out),
        CurateConfig(
            filters=list(FILTERS),
            dedup={"semantic": 0.95},
            leakage_index=[str(tmp_path / "card.leak")],
            reviewed=str(tmp_path / "review.jsonl"),
            max_share=0.2,
            least_rows=3,
            cap_category={"socks": 20},
            cap_source={"other": 12},
            share_category={"pies": 0.25},
            safe_to_unsafe=1.0,
            report=False,
        ),
    )
    gone = {row["query_id"]: row for row in rows(out, "rejected")}
    stages = {line["step"]: line for line in document["funnel"]}
    for query_id, name in of.items():
        assert gone[query_id]["reason"] in stages[name]["reasons"], name
        assert gone[query_id]["evidence"], name
    assert set(OTHERS) <= set(document["reasons"])
    assert document["counts"]["sft"] + document["counts"]["rejected"] == document["counts"]["read"] == len(made) + 1
    assert all(row["evidence"] for row in rows(out, "rejected"))
    reasons = [row["reason"] for row in rows(out, "rejected")]
    assert {reason: reasons.count(reason) for reason in set(reasons)} == document["reasons"]


def vectors(out: Path, found: dict[str, list[float]]) -> None:
    """Imported as `annotate --judge embedding=FILE` does."""
    import pyarrow as pa

    file = out.parent / "vectors.parquet"
    pq.write_table(pa.Table.from_pylist([{"query_id": key, "embedding": value} for key, value in found.items()]), file)
    store, manifest = Store(str(out)), read_manifest(str(out))
    assert manifest is not None
    key = imported.key_of("embedding", str(file), None)
    assert imported.bring_in(store, key, str(file), run_ids(store, manifest)) == (2, 0)
