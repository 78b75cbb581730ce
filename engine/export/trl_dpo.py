"""TRL's DPOTrainer: Parquet with `prompt`, `chosen`, `rejected` and `images`. Rejected texts may be harmful."""

from __future__ import annotations

from engine.errors import UsageError
from engine.export.data import Data
from engine.export.output import Output
from engine.export.trl_rows import FACTS, asked, facts, images, reply, schema

COLUMNS = ("query_id", "images", "prompt", "chosen", "rejected", "kind", "margin", *FACTS)


def write(data: Data, out: Output) -> None:
    """`data/*.parquet`. UsageError where preference/ has no rows, or utility rows are asked for (they have no pair)."""
    if data.mix:
        raise UsageError("--mix: utility rows have no rejected answer; mix them into trl or trl-kto")
    data.require("preference")
    with out.table(schema("preference", COLUMNS)) as table:
        for row in data.pairs():
            record = {
                "query_id": row.id,
                "images": images(row),
                "prompt": asked(row),
                "chosen": [reply(row.turns[-1].text)],
                "rejected": [reply(row.rejected or "")],
                "kind": row.kind,
                "margin": row.margin,
                **facts(row),
            }
            table.write(record)
