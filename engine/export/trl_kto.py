"""TRL's KTOTrainer: unpaired `prompt`, `completion`, `label` and `images` (it refuses paired rows with pictures).

label true: each answer of sft/, the chosen answers of preference/ that are not the same row's answer in sft/, the mix.
label false: the rejected answers. Rows stand in a shuffled order fixed by the seed: KTO's KL term pairs a row with its
neighbours, so the trainer reads in order (`train_sampling_strategy="sequential"`), and a file sorted by label would
give batches of one kind. Memory stays bounded: rows go to buckets on disk by rank, then bucket by bucket to the table.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from engine.export.base import Dialogue
from engine.export.data import Data
from engine.export.output import Output
from engine.export.trl_rows import FACTS, asked, facts, images, reply, schema

COLUMNS = ("query_id", "images", "prompt", "completion", *FACTS)
BUCKETS = 256


def write(data: Data, out: Output) -> None:
    """`data/*.parquet`. UsageError where sft/ has no rows; without pairs there are only true labels, which is noted."""
    data.require("sft", optional=("preference",))
    if not data.curated.rows("preference"):
        out.notes.append("no preference rows: every label is true, and KTO learns little from that")
    with out.table(schema("sft", COLUMNS, flags=("label",))) as table:
        for row, label in _shuffled(labelled(data), data.seed):
            data.counts["true" if label else "false"] += 1
            table.write(_record(row, label))


def labelled(data: Data) -> Iterator[tuple[Dialogue, bool]]:
    """Each answer with its label; the answer of a false row is `rejected`."""
    seen = set()
    for row in data.supervised():
        seen.add(_answer_key(row))
        yield row, True
    for pair in data.pairs():
        if _answer_key(pair) not in seen:
            yield replace(pair, contains_harmful=False), True
        yield pair, False


def _answer_key(row: Dialogue) -> bytes:
    return hashlib.blake2b(f"{row.id}\0{row.turns[-1].text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _shuffled(rows: Iterator[tuple[Dialogue, bool]], seed: int) -> Iterator[tuple[Dialogue, bool]]:
    with tempfile.TemporaryDirectory(prefix="ecso-kto-") as folder:
        names = [os.path.join(folder, f"{index:03d}") for index in range(BUCKETS)]
        with ExitStack() as stack:
            files = [stack.enter_context(open(name, "wb")) for name in names]
            for number, (row, label) in enumerate(rows):
                rank = hashlib.sha256(f"{seed}:{number}".encode()).digest()
                pickle.dump((rank, row, label), files[rank[0]])
        for name in names:
            bucket = sorted(_loaded(name), key=lambda entry: entry[0])
            yield from ((row, label) for _, row, label in bucket)


def _loaded(name: str) -> Iterator[tuple[bytes, Dialogue, bool]]:
    with open(name, "rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def _record(row: Dialogue, label: bool) -> dict[str, Any]:
    answer = row.turns[-1].text if label else row.rejected or ""
    return {
        "query_id": row.id,
        "images": images(row),
        "prompt": asked(row),
        "completion": [reply(answer)],
        **facts(row),
        "label": label,
    }
