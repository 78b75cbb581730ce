"""TRL's SFTTrainer: Parquet with `prompt`, `completion` and `images` (a list of Image features).

`messages` is left out on purpose: TRL's vision collator takes it before prompt/completion and then trains on the
query's tokens too (trl 1.16, DataCollatorForVisionLanguageModeling). Train with `max_length=None`: cutting loses
picture tokens.
"""

from __future__ import annotations

from typing import Any

from engine.export.base import Dialogue
from engine.export.data import Data
from engine.export.output import Output
from engine.export.trl_rows import FACTS, asked, facts, images, reply, schema

COLUMNS = ("query_id", "images", "prompt", "completion", *FACTS)


def write(data: Data, out: Output) -> None:
    """`data/*.parquet`. UsageError where sft/ has no rows."""
    data.require("sft")
    with out.table(schema("sft", COLUMNS)) as table:
        for row in data.supervised():
            table.write(_record(row))


def _record(row: Dialogue) -> dict[str, Any]:
    return {
        "query_id": row.id,
        "images": images(row),
        "prompt": asked(row),
        "completion": [reply(row.turns[-1].text)],
        **facts(row),
    }
