"""Shared by the TRL formats: the columns, as pinned by the curated tables, and how a dialogue fills them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import schemas
from engine.export.base import Dialogue
from engine.export.pictures import plain

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = ("source", "category", "subcategory", "label_safe", "contains_harmful")


def schema(table: str, columns: Sequence[str], flags: Sequence[str] = ()) -> pa.Schema:
    """Columns of a pinned table, with their Hugging Face features (pictures load as Image), and boolean flags."""
    import pyarrow as pa

    pinned = schemas.arrow_schema(table)
    features = json.loads(pinned.metadata[b"huggingface"])["info"]["features"]
    kept = {name: features[name] for name in columns} | {name: {"dtype": "bool", "_type": "Value"} for name in flags}
    fields = [pinned.field(name) for name in columns] + [pa.field(name, pa.bool_()) for name in flags]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": kept}})})


def images(row: Dialogue) -> list[dict[str, Any]]:
    """The pictures as the Image feature stores them; an empty list for a text-only row."""
    return [{"bytes": plain(data)[0], "path": None} for data in row.images]


def asked(row: Dialogue) -> list[dict[str, Any]]:
    """All turns but the last answer; the pictures stand in the first one."""
    turns = [{"role": turn.role, "content": [{"type": "text", "text": turn.text}]} for turn in row.turns[:-1]]
    turns[0]["content"] = [{"type": "image", "text": None} for _ in row.images] + list(turns[0]["content"])
    return turns


def reply(text: str) -> dict[str, Any]:
    """One assistant turn."""
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def facts(row: Dialogue) -> dict[str, Any]:
    """Where the row comes from; trainers ignore these columns."""
    return {name: getattr(row, name) for name in FACTS}
