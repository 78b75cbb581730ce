"""Reading a folder that `engine.export --format trl*` wrote, as the same dialogues that a curated set gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.export.base import Dialogue, Turn
from engine.export.output import SEAL
from engine.export.read import BATCH, sha256_of
from engine.journal.store import Store

KINDS = {"trl": "sft", "trl-dpo": "dpo", "trl-kto": "kto"}
"""Format -> the training method that it is for."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A sealed TRL export. `sha256` is that of its seal."""

    store: Store
    document: dict[str, Any]
    sha256: str

    @property
    def kind(self) -> str:
        return KINDS[self.document["config"]["format"]]

    @property
    def rows(self) -> int:
        return sum(int(file["rows"]) for file in self.document["files"])

    def check(self) -> None:
        """UsageError unless every shard has the checksum that the seal names."""
        for file in self.document["files"]:
            if sha256_of(self.store, file["path"]) != file["sha256"]:
                raise UsageError(f"{self.store.path(file['path'])}: not the file that {SEAL} names; export again")

    def read(self) -> Iterator[tuple[Dialogue, bool]]:
        """(dialogue, label) in the export's order. The label is true but for the false rows of trl-kto, whose answer
        then stands in `rejected`."""
        import pyarrow.parquet as pq

        for file in self.document["files"]:
            with self.store.open(file["path"]) as opened:
                for batch in pq.ParquetFile(opened).iter_batches(BATCH, use_threads=False):
                    for row in batch.to_pylist():
                        yield _dialogue(row), bool(row.get("label", True))


def open_exported(path: str) -> Exported | None:
    """The export in the folder; None where there is no `export.json`. UsageError: broken off, damaged, not for TRL."""
    store = Store(path)
    try:
        data = store.read(SEAL)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        document = json.loads(data)
        form, status = str(document["config"]["format"]), document["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{store.path(SEAL)}: damaged or not complete ({error}); run export again") from error
    if form not in KINDS:
        raise UsageError(
            f"--data {path}: an export for {form}; expected a curated set, or an export {', '.join(KINDS)}"
        )
    if status != "complete":
        raise UsageError(f"--data {path}: this export broke off ({SEAL} says {status}); run it again")
    return Exported(store, document, hashlib.sha256(data).hexdigest())


def _dialogue(row: dict[str, Any]) -> Dialogue:
    images = tuple(image["bytes"] for image in row["images"])
    turns = tuple(Turn(message["role"], _text(message)) for message in row["prompt"])
    answer = (row.get("completion") or row["chosen"])[0]
    rejected = row.get("rejected")
    text = _text(answer)
    if not row.get("label", True):
        return Dialogue(row["query_id"], row["source"], images, (*turns, Turn("assistant", "")), rejected=text)
    return Dialogue(
        row["query_id"],
        row["source"],
        images,
        (*turns, Turn("assistant", text)),
        rejected=None if rejected is None else _text(rejected[0]),
        contains_harmful=bool(row["contains_harmful"]),
    )


def _text(message: dict[str, Any]) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")
