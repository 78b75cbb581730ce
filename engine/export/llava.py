"""LLaVA's own JSON: `{id, image, conversations: [{from, value}]}`, pictures in `images/`.

`<image>\\n` opens the first human turn (LLaVA's own layout; its preprocessing moves the token there anyhow, and so
reads VLGuard's `<image>` without newline the same way). Text-only rows have no `image`. `--two-turn` is VLGuard's form:
two rows on one picture become one conversation of two questions, in an order drawn by the seed. Rows with several
pictures are left out and counted: LLaVA-1.5's loader opens one file a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from engine.backends.wire import JOINER
from engine.export.base import Dialogue
from engine.export.data import Data
from engine.export.output import Output

FROM = {"user": "human", "assistant": "gpt"}
NAME = "llava.json"
ROLE_MARK = "ASSISTANT:"
"""LLaVA cuts a round at these letters to find the answer; found twice, it silently trains on nothing of the row."""


def write(data: Data, out: Output) -> None:
    """`llava.json` and `images/` (`--data_path OUT/llava.json --image_folder OUT`). UsageError if sft/ has no rows."""
    data.require("sft")
    with out.json_list(NAME) as file:
        for row in two_turn(data.safe(), data.seed) if data.two_turn else data.safe():
            _add(row, file, data, out)
        for row in data.utility():
            _add(row, file, data, out)


def _add(row: Dialogue, file: Any, data: Data, out: Output) -> None:
    if len(row.images) > 1:
        data.counts["left out: several pictures"] += 1
        return
    data.counts["text-only"] += not row.images
    file.write(entry(row, [out.picture(image) for image in row.images]))


def entry(row: Dialogue, pictures: list[str]) -> dict[str, Any]:
    """One conversation; `pictures` holds at most one path."""
    turns = [{"from": FROM[turn.role], "value": _one_round(turn.text)} for turn in row.turns]
    turns[0]["value"] = "<image>\n" * len(pictures) + turns[0]["value"]
    image = {"image": pictures[0]} if pictures else {}
    return {"id": row.id, **image, "conversations": turns, "source": row.source, "query_ids": list(row.query_ids)}


def _one_round(text: str) -> str:
    return text.replace(ROLE_MARK, ROLE_MARK[0] + JOINER + ROLE_MARK[1:])


def two_turn(rows: Iterator[Dialogue], seed: int) -> Iterator[Dialogue]:
    """Rows joined in twos where they show the same one picture. A row waits for its partner; lone rows come last."""
    waiting: dict[str, Dialogue] = {}
    for row in rows:
        if len(row.images) != 1:
            yield row
            continue
        picture = hashlib.sha256(row.images[0]).hexdigest()
        first = waiting.pop(picture, None)
        if first is None:
            waiting[picture] = row
        else:
            yield _joined(first, row, seed)
    yield from waiting.values()


def _joined(first: Dialogue, second: Dialogue, seed: int) -> Dialogue:
    if hashlib.sha256(f"{seed}:{first.id}:{second.id}".encode()).digest()[0] & 1:
        first, second = second, first
    return replace(first, turns=first.turns + second.turns, query_ids=first.query_ids + second.query_ids, category=None)
