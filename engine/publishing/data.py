"""The data of one repository: shards by split, and publication.json, which says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import PublishConfig
from engine.errors import UsageError
from engine.journal.store import Store
from engine.parquet import Shard, TableWriter
from engine.publishing import viewer
from engine.publishing.layout import CutWriter
from engine.publishing.source import Source
from engine.publishing.splits import NAMES, Splits
from engine.publishing.tables import Form, Shown, form_of, leave_out, pictures_of
from engine.version import SCHEMA_VERSION, version

if TYPE_CHECKING:
    import pyarrow as pa

SEAL = "publication.json"
DATA = "data"


@dataclass
class Written:
    """The data of one repository, as written. `layout`: by split and shard the rows of each row group that the set has
    with its pictures inside; that is how it is cut again when they are joined."""

    form: Form
    layout: dict[str, list[list[int]]] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    arrow_bytes: dict[str, int] = field(default_factory=dict)
    """Size of each split in memory, as `dataset_info` states it."""

    pictures: dict[bytes, int] = field(default_factory=dict)
    """Digest of each distinct picture -> its bytes. 60 bytes of memory a picture."""

    @property
    def rows(self) -> dict[str, int]:
        return {split: sum(map(sum, shards)) for split, shards in self.layout.items()}


def splits_of(source: Source, config: PublishConfig) -> Splits:
    """The drawing of splits; rows with several pictures connect them, so they are looked at first."""
    splits = Splits(config.validation_share, config.split_seed)
    if not splits.one:
        for table in ("sft", "preference"):
            for batch in _column(source, table):
                for pictures in batch:
                    if len(pictures) > 1:
                        splits.add([hashlib.sha256(each["bytes"]).hexdigest() for each in pictures])
    return splits


def _column(source: Source, table: str) -> Iterator[list[list[dict[str, Any]]]]:
    for _, batch in source.tables(table):
        yield batch["images"].to_pylist()


def write_data(source: Source, table: str, config: PublishConfig, splits: Splits, folder: Path) -> Written:
    """Write the shards of one table under FOLDER/data. OutputError for a failed write or what no viewer shows."""
    written = Written(form_of(table, hydrate=not config.embed_images))
    with ExitStack() as stack:
        writers = _Writers(stack, folder, written)
        for number, batch in source.tables(table):
            _refuse_harm(table, batch)
            shown = pictures_of(batch)
            for row in shown:
                written.pictures |= {bytes.fromhex(each.sha256): len(each.data) for each in row}
            names = [
                splits.of([each.sha256 for each in row], query_id)
                for row, query_id in zip(shown, batch["query_id"].to_pylist(), strict=True)
            ]
            for split in NAMES:
                places = [place for place, name in enumerate(names) if name == split]
                if places:
                    part = batch.take(places) if len(places) < batch.num_rows else batch
                    writers.write(split, number, part, [shown[place] for place in places])
    written.notes += _local_names(source)
    for shard in writers.shards():
        path = folder / shard.path
        written.notes += viewer.check(path)
        written.files.append({**shard.entry(), "size": path.stat().st_size})
    return written


class _Writers:
    """One writer a split, opened with its first rows (`datasets` loads no split without rows)."""

    def __init__(self, stack: ExitStack, folder: Path, written: Written) -> None:
        self._stack, self._store, self._written = stack, Store(str(folder)), written
        self._store.ensure()
        self._open: dict[str, TableWriter] = {}
        self._number: dict[str, int] = {}

    def write(self, split: str, number: int, part: pa.Table, shown: list[list[Shown]]) -> None:
        """Rows of one row group of the run's shard `number`."""
        form, layout = self._written.form, self._written.layout.setdefault(split, [])
        if split not in self._open:
            kind = TableWriter if form.hydrate else CutWriter
            made = kind(self._store, DATA, form.published, name_prefix=f"{split}-")
            self._open[split] = self._stack.enter_context(made)
        if self._number.get(split) != number:
            self._number[split] = number
            layout.append([])
        layout[-1].append(part.num_rows)
        writer = self._open[split]
        if isinstance(writer, CutWriter):
            writer.group(part, number)
        else:
            part = leave_out(part, shown, form.published)
            writer.write(part)
        self._written.arrow_bytes[split] = self._written.arrow_bytes.get(split, 0) + part.nbytes

    def shards(self) -> Iterator[Shard]:
        for split in NAMES:
            if split in self._open:
                yield from self._open[split].shards


def _local_names(source: Source) -> list[str]:
    """Rows name their model as it was named when they were made; a folder of somebody's machine is worth a word."""
    names = {str(model["name"]) for run in source.runs for model in run.manifest["models"]}
    local = sorted(name for name in names if name.startswith(("/", "~")))
    return [f"the column `model` of every row names a local folder: {name}" for name in local]


def _refuse_harm(table: str, batch: pa.Table) -> None:
    """curate writes no such rows; a set by another hand might."""
    import pyarrow.compute as pc

    if table == "sft" and pc.any(batch["contains_harmful"]).as_py():
        raise UsageError("sft/ holds rows marked contains_harmful: not a set of this engine's curate; not published")


def seal(written: Written, source: Source, config: PublishConfig, repo: str | None) -> dict[str, Any]:
    """publication.json: the same input gives the same bytes (it names no time), so a second push changes nothing."""
    return {
        "kind": "publication",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "repo": repo,
        "table": written.form.table,
        "form": "hydrate" if written.form.hydrate else "embedded",
        "pictures_licence": config.licence_ok,
        "scripted": source.scripted,
        "status": "partial" if source.partial else "complete",
        "curation_sha256": source.curated.sha256,
        "runs": [
            {
                "run_id": run.run_id,
                "manifest_sha256": run.manifest_sha256,
                "fingerprint": run.manifest["fingerprint"],
                "status": run.manifest["status"],
            }
            for run in source.runs
        ],
        "validation_share": config.validation_share,
        "split_seed": config.split_seed,
        "splits": {
            split: {"rows": written.rows[split], "row_groups": written.layout[split]}
            for split in NAMES
            if split in written.layout
        },
        "pictures": {"distinct": len(written.pictures), "bytes": sum(written.pictures.values())},
        "columns": written.form.published.names,
        "files": written.files,
    }


def write_seal(folder: Path, document: dict[str, Any]) -> None:
    """Check the document and write it."""
    import schemas

    schemas.check("publication", document, where=SEAL)
    Store(str(folder)).write(SEAL, json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")


def read_seal(folder: Path) -> dict[str, Any]:
    """publication.json of a published folder. UsageError: not there, damaged, or of another kind."""
    import schemas

    path = folder / SEAL
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        schemas.check("publication", document, where=str(path))
        for file in document["files"]:
            Store(str(folder)).path(file["path"])
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: no {SEAL} there: not a set that engine.publish wrote") from error
    except ValueError as error:
        raise UsageError(f"{path}: damaged ({error})") from error
    return document
