"""ms-swift: JSONL with `messages` and `images`; `dpo.jsonl` adds `rejected_response`.

Picture paths are absolute for a local export: ms-swift resolves relative ones against the working directory, so that
only absolute ones load from anywhere. On another machine export again. `<image>` stands once for each picture, without
newline (its LLaVA template writes one). dpo.jsonl may hold harmful text (rejected answers).
"""

from __future__ import annotations

from typing import Any

from engine.errors import UsageError
from engine.export.base import Dialogue
from engine.export.data import Data
from engine.export.output import Output


def write(data: Data, out: Output) -> None:
    """`sft.jsonl`, `dpo.jsonl` (each if it has rows), `images/`. UsageError where both tables are empty."""
    tables = {table: data.curated.rows(table) for table in ("sft", "preference")}
    if not any(tables.values()):
        raise UsageError(f"{data.curated.store.url}: no rows in sft/ and none in preference/")
    data.require(optional=("sft", "preference"))
    if tables["sft"] or data.mix:
        with out.json_lines("sft.jsonl") as file:
            for row in data.supervised():
                file.write(_entry(row, out))
    if tables["preference"]:
        with out.json_lines("dpo.jsonl") as file:
            for row in data.pairs():
                file.write(_entry(row, out) | {"rejected_response": row.rejected})


def _entry(row: Dialogue, out: Output) -> dict[str, Any]:
    messages = [{"role": turn.role, "content": turn.text} for turn in row.turns]
    messages[0]["content"] = "<image>" * len(row.images) + messages[0]["content"]
    pictures = [_address(out.picture(image), out) for image in row.images]
    return {"id": row.id, "messages": messages, "images": pictures, "source": row.source}


def _address(path: str, out: Output) -> str:
    return out.store.path(path) if out.store.is_local else path
