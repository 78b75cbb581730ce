"""LLaMA-Factory: sharegpt JSON with `images`, a ranking file for DPO, and `dataset_info.json` that declares both.

`formatting` is sharegpt: its `openai` formatting adds "detailed thinking off" as a system prompt to every row (0.9.5).
Use `dataset_dir: OUT`, `dataset: ecso_sft` (or `ecso_ranking`), and for LLaVA-1.5 `template: llava`. `<image>\\n`
stands once for each picture, which is what the loader counts. ranking.json may hold harmful text (rejected answers).
"""

from __future__ import annotations

from typing import Any

from engine.errors import UsageError
from engine.export.base import Dialogue
from engine.export.data import Data
from engine.export.output import Output

FROM = {"user": "human", "assistant": "gpt"}
TAGS = {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}


def write(data: Data, out: Output) -> None:
    """`sft.json`, `ranking.json` (if they have rows), `dataset_info.json`, `images/`. UsageError if both are empty."""
    tables = {table: data.curated.rows(table) for table in ("sft", "preference")}
    if not any(tables.values()):
        raise UsageError(f"{data.curated.store.url}: no rows in sft/ and none in preference/")
    data.require(optional=("sft", "preference"))
    info: dict[str, Any] = {}
    if tables["sft"] or data.mix:
        info["ecso_sft"] = _declared("sft.json")
        with out.json_list("sft.json") as file:
            for row in data.supervised():
                file.write(_entry(row, out, row.turns))
    if tables["preference"]:
        info["ecso_ranking"] = _declared("ranking.json", ranking=True)
        with out.json_list("ranking.json") as file:
            for row in data.pairs():
                answers = {"chosen": _said(row.turns[-1].text), "rejected": _said(row.rejected or "")}
                file.write(_entry(row, out, row.turns[:-1]) | answers)
    out.document("dataset_info.json", info)


def _declared(name: str, *, ranking: bool = False) -> dict[str, Any]:
    columns = {"messages": "conversations", "images": "images"}
    pair = {"chosen": "chosen", "rejected": "rejected"} if ranking else {}
    declared: dict[str, Any] = {"file_name": name, "formatting": "sharegpt", "columns": columns | pair, "tags": TAGS}
    return declared | ({"ranking": True} if ranking else {})


def _entry(row: Dialogue, out: Output, turns: tuple[Any, ...]) -> dict[str, Any]:
    """Picture paths are relative: the loader joins them to `media_dir`, which is `dataset_dir` unless it is given."""
    said = [{"from": FROM[turn.role], "value": turn.text} for turn in turns]
    said[0]["value"] = "<image>\n" * len(row.images) + said[0]["value"]
    pictures = [out.picture(image) for image in row.images]
    return {"id": row.id, "conversations": said, "images": pictures, "source": row.source}


def _said(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}
