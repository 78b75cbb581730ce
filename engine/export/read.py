"""Reading a curated set: sealed, whole, and every shard that is read is the one that was sealed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemas
from engine.errors import UsageError
from engine.export.base import Dialogue, Turn
from engine.journal.store import Store
from engine.version import SCHEMA_VERSION

SEAL = "curation.json"
USED = ("kind", "schema_version", "runs", "files")
BATCH = 64
NEEDED = {
    "sft": ("query_id", "images", "query", "response", "source", "contains_harmful"),
    "preference": ("query_id", "images", "prompt", "chosen", "rejected", "kind", "margin", "source"),
}
WANTED = ("category", "subcategory", "label_safe", "contains_harmful")
"""Read where the set has them."""


@dataclass(frozen=True, slots=True)
class Curated:
    """A sealed curated set. `rows` counts by table; `sha256` is that of its seal."""

    store: Store
    document: dict[str, Any]
    sha256: str
    checked: set[str] = field(default_factory=set)
    """Tables whose shards were found whole."""

    def rows(self, table: str) -> int:
        return sum(int(file["rows"]) for file in self._files(table))

    def check(self, table: str) -> None:
        """UsageError unless every shard of the table has the checksum that the seal names."""
        for file in [] if table in self.checked else self._files(table):
            found = sha256_of(self.store, file["path"])
            if found != file["sha256"]:
                raise UsageError(
                    f"{self.store.path(file['path'])}: sha256 is {found}, {SEAL} says {file['sha256']}: "
                    "the shard was changed after curation; run curate again"
                )
        self.checked.add(table)

    def read(self, table: str) -> Iterator[Dialogue]:
        """The table's rows in their order, a few in memory at a time."""
        for row in self.raw(table, [*NEEDED[table], *WANTED]):
            yield _supervised(row) if table == "sft" else _pair(row)

    def raw(self, table: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """The table's rows with those of the columns that it has. UsageError where a needed one is missing."""
        import pyarrow.parquet as pq

        for file in self._files(table):
            with self.store.open(file["path"]) as opened:
                shard = pq.ParquetFile(opened)
                found = shard.schema_arrow.names
                missing = [name for name in NEEDED[table] if name in columns and name not in found]
                if missing:
                    raise UsageError(f"{self.store.path(file['path'])}: no column {', '.join(missing)}")
                kept = [name for name in dict.fromkeys(columns) if name in found]
                for batch in shard.iter_batches(BATCH, columns=kept, use_threads=False):
                    yield from batch.to_pylist()

    def _files(self, table: str) -> list[dict[str, Any]]:
        return [file for file in self.document["files"] if file["path"].startswith(f"{table}/")]


def open_curated(path: str, *, allow_partial: bool = False) -> Curated:
    """UsageError: not sealed, a damaged or newer seal, or (without `allow_partial`) made from an unfinished run."""
    store = Store(path)
    try:
        data = store.read(SEAL)
        document = json.loads(data)
        _check_seal(document, store.path(SEAL))
        for file in document["files"]:
            store.path(file["path"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: no {SEAL} there: not a curated set (curate seals with it at its end)") from error
    except ValueError as error:
        raise UsageError(f"{store.path(SEAL)}: damaged ({error}); run curate again") from error
    if document["schema_version"] > SCHEMA_VERSION:
        raise UsageError(f"{path}: schema version {document['schema_version']}, this engine reads {SCHEMA_VERSION}")
    if not allow_partial and any(run.get("status") == "partial" for run in document["runs"]):
        raise UsageError(f"{path}: curated from a partial run; finish the run first, or pass --allow-partial")
    return Curated(store, document, hashlib.sha256(data).hexdigest())


def _check_seal(document: object, where: str) -> None:
    """Only what is read here is checked: sets that another version curated have other sections for the report."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    rules = schemas.load("curation")["properties"]
    picked = {"type": "object", "required": list(USED), "properties": {name: rules[name] for name in USED}}
    error = best_match(Draft202012Validator(picked).iter_errors(document))
    if error is not None:
        place = ".".join(map(str, error.absolute_path)) or "(whole document)"
        raise UsageError(f"{where}: {place}: {error.message[:200]}")


def sha256_of(store: Store, path: str) -> str:
    whole = hashlib.sha256()
    try:
        with store.open(path) as file:
            while piece := file.read(8 << 20):
                whole.update(piece)
    except FileNotFoundError as error:
        raise UsageError(f"{store.path(path)}: named by {SEAL}, but missing") from error
    return whole.hexdigest()


def _common(row: dict[str, Any]) -> dict[str, Any]:
    facts = {name: row.get(name) for name in ("category", "subcategory", "label_safe")}
    images = tuple(image["bytes"] for image in row["images"])
    return {"id": row["query_id"], "query_ids": (row["query_id"],), "source": row["source"], "images": images, **facts}


def _supervised(row: dict[str, Any]) -> Dialogue:
    turns = (Turn("user", row["query"]), Turn("assistant", row["response"]))
    return Dialogue(**_common(row), turns=turns, contains_harmful=bool(row["contains_harmful"]))


def _pair(row: dict[str, Any]) -> Dialogue:
    turns = (Turn("user", text_of(row["prompt"])), Turn("assistant", text_of(row["chosen"])))
    rejected = text_of(row["rejected"])
    harmful = bool(row.get("contains_harmful", True))
    common = _common(row)
    return Dialogue(
        **common, turns=turns, rejected=rejected, contains_harmful=harmful, kind=row["kind"], margin=row["margin"]
    )


def text_of(messages: list[dict[str, Any]]) -> str:
    """The text of a one-turn `prompt`, `chosen` or `rejected`."""
    return "".join(part["text"] for message in messages for part in message["content"] if part["type"] == "text")


SCRIPTED = "scripted"
"""The backend that needs no model, and the name that its rows carry for one."""


def is_scripted(curated: Curated, tables: Sequence[str]) -> bool:
    """Whether a script wrote the answers: the manifest beside them says so, or a row's own column `model`."""
    try:
        manifest: dict[str, Any] = json.loads(curated.store.read("manifest.json"))
    except (OSError, ValueError):
        manifest = {}
    if manifest.get(SCRIPTED):
        return True
    return any(row.get("model") == SCRIPTED for table in tables for row in curated.raw(table, ["model"]))
