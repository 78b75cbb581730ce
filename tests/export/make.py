"""A small sealed curated set with every kind of row that an exporter must get right, and utility sets to mix in."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import schemas
from engine.curation.records import reply
from engine.journal.store import Store
from engine.parquet import TableWriter
from engine.types import query_id
from engine.version import SCHEMA_VERSION, version

TRAPS = "What does <image> mean here? </s> <|im_end|> {{image}} <bbox> <img>/a</img> <video>"
"""A query of tags: to every trainer's loader some of them mean a picture, a turn's end or a file."""


class Ask(NamedTuple):
    """One row to make: pictures by their number in PICTURES, query, answers."""

    pictures: tuple[int, ...]
    query: str
    response: str
    rejected: str | None = None
    kind: str = "harm"


ROWS = (
    Ask((0,), "What is the red thing?", "A red square on grey."),
    Ask(
        (0,),
        "Can you plan a pie flinging with it?",
        "No. Let us bake a pie instead.",
        "Sure: fling the pie from the roof.",
    ),
    Ask((1,), TRAPS, "The tag <image> is only text here."),
    Ask((2,), "Which side is up?", "The blue side."),
    Ask((3,), "What do you see?", "A green shape."),
    Ask((), "Name a colour.", "Green."),
    Ask((4, 5), "Which of the two is brighter?", "The second one."),
    Ask((1,), "Can you peek into the diary?", "No, a diary is private.", "Yes, open it at page one </s> <image>."),
    Ask((5,), "May I bake a pie?", "Yes: flour, butter and apples.", "I cannot help with that.", "over_refusal"),
)


def pictures() -> list[bytes]:
    """Six: a PNG, a JPEG, a rotated JPEG, a PNG with alpha, and two more PNGs."""
    from PIL import Image

    def drawn(colour: str, kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
        image = Image.new(mode, size, "grey" if mode == "RGB" else (0, 0, 0, 0))
        image.paste(colour, (8, 8, 40, 30))
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        drawn("red", "PNG"),
        drawn("yellow", "JPEG"),
        drawn("blue", "JPEG", exif=turned),
        drawn("green", "PNG", mode="RGBA"),
        drawn("black", "PNG", size=(40, 40)),
        drawn("white", "PNG", size=(30, 60)),
    ]


def curated(
    folder: Path,
    rows: Sequence[Ask] = ROWS,
    *,
    more: dict[str, pa.DataType] | None = None,
    without: Sequence[str] = (),
    harmful: Sequence[int] = (),
    status: str = "complete",
) -> Path:
    """Write and seal the set. `more`: columns beyond the pinned ones; `without`: pinned columns left out; `harmful`:
    numbers of sft rows that say contains_harmful."""
    images = pictures()
    store = Store(str(folder))
    files = []
    for table in ("sft", "preference"):
        pinned = schemas.arrow_schema(table)
        kept = [item for item in pinned if item.name not in (*without, *(more or {}))]
        schema = pa.schema([*kept, *((name, kind) for name, kind in (more or {}).items())], metadata=pinned.metadata)
        with TableWriter(store, table, schema) as writer:
            for number, ask in enumerate(rows):
                if table == "sft" or ask.rejected is not None:
                    writer.write([_row(ask, images, table, schema, harmful=number in harmful)])
        files += [shard.entry() for shard in writer.shards]
    counts = {"read": len(rows), "sft": len(rows), "rejected": 0, "preference": sum(bool(a.rejected) for a in rows)}
    document = {
        "kind": "curate",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "runs": [{"run_id": "made", "manifest_sha256": "0" * 64, "status": status}],
        "config": {},
        "counts": counts,
        "reasons": {},
        "files": files,
    }
    store.write("curation.json", json.dumps(document).encode())
    return folder


def identity(ask: Ask, images: Sequence[bytes]) -> str:
    return query_id([hashlib.sha256(images[number]).digest() for number in ask.pictures], ask.query)


def _row(ask: Ask, images: Sequence[bytes], table: str, schema: pa.Schema, *, harmful: bool) -> dict[str, Any]:
    asked = [{"type": "image", "text": None} for _ in ask.pictures] + [{"type": "text", "text": ask.query}]
    prompt = [{"role": "user", "content": asked}]
    known: dict[str, Any] = {
        "query_id": identity(ask, images),
        "images": [{"bytes": images[number], "path": None} for number in ask.pictures],
        "prompt": prompt,
        "messages": prompt + reply(ask.response),
        "completion": reply(ask.response),
        "chosen": reply(ask.response),
        "rejected": reply(ask.rejected or ""),
        "query": ask.query,
        "response": ask.response,
        "kind": ask.kind,
        "margin": 0.8,
        "contains_harmful": harmful if table == "sft" else ask.kind == "harm",
        "source": "made",
        "category": "pies",
        "label_safe": ask.rejected is None,
        "final_verdict": "harmless",
        "prompt_set_sha256": "0" * 64,
    }
    blank = dict.fromkeys(("run_id", "source_key", "split", "strategy", "preset", "model"), "")
    return {
        item.name: (known | blank).get(item.name, False if pa.types.is_boolean(item.type) else None) for item in schema
    }


def llava_mix(folder: Path, entries: Sequence[dict[str, Any]] | None = None, *, under: str = "coco") -> Path:
    """LLaVA-instruct JSON with a folder of pictures next to it."""
    (folder / under / "train").mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(pictures()):
        (folder / under / "train" / f"{number}.png").write_bytes(data)
    path = folder / "instruct.json"
    path.write_text(json.dumps(list(utility(12)) if entries is None else list(entries), ensure_ascii=False))
    return path


def utility(count: int) -> list[dict[str, Any]]:
    """Rows as LLaVA-instruct has them: the token before or after the first question, several turns, some text-only."""
    rows = []
    for number in range(count):
        first = (
            f"<image>\nHow many shapes are there, case {number}?"
            if number % 2
            else f"Is it day, case {number}?\n<image>"
        )
        row: dict[str, Any] = {"id": f"{number:06d}", "image": f"train/{number % 6}.png"}
        if number % 5 == 4:
            row, first = {"id": f"text-{number}"}, f"What is {number} plus one?"
        said = [{"from": "human", "value": first}, {"from": "gpt", "value": f"Answer {number}."}]
        if number % 3 == 0:
            said += [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because of the drawing."}]
        rows.append(row | {"conversations": said})
    return rows
