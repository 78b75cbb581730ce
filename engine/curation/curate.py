"""Sealed transcripts in, data sets out: a pure function of the transcripts and a config.

Kept + rejected = read, asserted. Pictures are read again from the run's own `pictures/`, row group by row group.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import schemas
from engine.config import CurateConfig
from engine.curation import records
from engine.errors import OutputError, UsageError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.parquet import TableWriter
from engine.version import SCHEMA_VERSION, version

BATCH = 256
TABLES = ("sft", "preference", "rejected")


def curate(run: str, config: CurateConfig) -> dict[str, Any]:
    """Curate one sealed run into its own folder (or `config.out`). Returns `curation.json`'s document.

    Raises UsageError where the run is not sealed, or partial without `allow_partial`; OutputError where counts differ.
    """
    manifest = _manifest(run, config)
    source, target = Store(run), Store(config.out or run)
    before = [name for table in TABLES for name in target.list(table)]
    stamp = sha256(json.dumps([manifest["run_id"], manifest["files"], asdict(config)]).encode()).hexdigest()[:8]
    pictures = Pictures(source, [file["path"] for file in manifest["files"] if file["path"].startswith("pictures/")])
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    writers = {table: TableWriter(target, table, table, name_prefix=f"{table}-{stamp}-") for table in TABLES}
    for batch in transcripts(source, manifest):
        images = pictures.images({sha for row in batch for sha in row["picture_sha256"]})
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
        for transcript in batch:
            _sort(transcript, images, rows, counts, reasons)
        for table, writer in writers.items():
            writer.write(rows[table])
    files = [shard.entry() for writer in writers.values() for shard in writer.close()]
    document = _document(manifest, source, config, counts, reasons, files)
    target.write("curation.json", json.dumps(document, indent=1).encode())
    kept = {file["path"] for file in files}
    for name in before:
        if name not in kept:
            target.remove(name)
    return document


def _manifest(run: str, config: CurateConfig) -> dict[str, Any]:
    manifest = read_manifest(run)
    if manifest is None:
        raise UsageError(f"{run}: no manifest.json there: not a sealed run (generate seals at its end)")
    if manifest["status"] == "partial" and not config.allow_partial:
        raise UsageError(f"{run}: the run is partial; finish it with generate, or pass --allow-partial")
    return manifest


def transcripts(
    source: Store, manifest: dict[str, Any], columns: list[str] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """The sealed transcripts (of some columns), batch by batch, in source order."""
    for file in manifest["files"]:
        if file["path"].startswith("transcripts/"):
            with open_table(source, file["path"]) as table:
                for group in range(table.num_row_groups):
                    groups = table.iter_batches(BATCH, row_groups=[group], columns=columns, use_threads=False)
                    for batch in groups:
                        yield batch.to_pylist()


def _sort(
    transcript: dict[str, Any],
    images: dict[str, dict[str, Any]],
    rows: dict[str, list[dict[str, Any]]],
    counts: Counter[str],
    reasons: Counter[str],
) -> None:
    """One transcript to sft (and preference) or rejected; its duplicates always to rejected."""
    counts["read"] += 1 + len(transcript["duplicate_keys"])
    counts["transcripts"] += 1
    for key in transcript["duplicate_keys"]:
        evidence = f"same pictures and text as {transcript['source_key']}"
        rows["rejected"].append(records.rejected(transcript, "duplicate_query", evidence, source_key=key))
        reasons["duplicate_query"] += 1
    found = records.reject_reason(transcript)
    if found is not None:
        rows["rejected"].append(records.rejected(transcript, *found))
        reasons[found[0]] += 1
        return
    shown = [images[sha] for sha in transcript["picture_sha256"]]
    rows["sft"].append(records.sft(transcript, shown))
    counts["sft"] += 1
    pair = records.preference(transcript, shown)
    if pair is not None:
        rows["preference"].append(pair)
        counts["preference"] += 1


def _document(
    manifest: dict[str, Any],
    source: Store,
    config: CurateConfig,
    counts: Counter[str],
    reasons: Counter[str],
    files: list[dict[str, Any]],
) -> dict[str, Any]:
    rejected = sum(reasons.values())
    if counts["sft"] + rejected != counts["read"] or counts["read"] != manifest["counts"]["read"]:
        raise OutputError(
            f"curation does not add up: {counts['sft']} kept + {rejected} rejected, {counts['read']} read, "
            f"the manifest says {manifest['counts']['read']}"
        )
    sealed = {
        "run_id": manifest["run_id"],
        "manifest_sha256": sha256(source.read("manifest.json")).hexdigest(),
        "status": manifest["status"],
    }
    document = {
        "kind": "curate",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "runs": [sealed],
        "config": asdict(config),
        "counts": {name: counts[name] for name in ("read", "transcripts", "sft", "preference")}
        | {"rejected": rejected},
        "reasons": dict(reasons.most_common()),
        "files": files,
    }
    schemas.check("curation", document, where="curation.json")
    return document


@contextmanager
def open_table(store: Store, path: str) -> Iterator[Any]:
    """A ParquetFile of the output folder, local or not."""
    import pyarrow.parquet as pq

    with store.open(path) as file:
        yield pq.ParquetFile(file)


class Pictures:
    """Pictures of a run by sha256, read row group by row group, a few of them kept.

    Transcripts stand in source order and pictures in the order they are first referred to, so a batch of transcripts
    needs one or two row groups.
    """

    KEPT_GROUPS = 3

    def __init__(self, store: Store, files: list[str]) -> None:
        self._store = store
        self._where: dict[bytes, tuple[str, int, int]] = {}
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        for name in files:
            with open_table(store, name) as table:
                for group in range(table.num_row_groups):
                    column = table.read_row_group(group, columns=["picture_sha256"]).column(0)
                    for row, sha in enumerate(column.to_pylist()):
                        self._where[bytes.fromhex(sha)] = (name, group, row)

    def images(self, wanted: set[str]) -> dict[str, dict[str, Any]]:
        """sha256 -> {bytes, path}, as the Image feature stores it. OutputError for a picture that the run lacks."""
        found: dict[str, dict[str, Any]] = {}
        places = {sha: self._place(sha) for sha in wanted}
        for sha, (name, group, row) in sorted(places.items(), key=lambda item: item[1]):
            found[sha] = self._group(name, group).column("image")[row].as_py()
        return found

    def _place(self, sha: str) -> tuple[str, int, int]:
        place = self._where.get(bytes.fromhex(sha))
        if place is None:
            raise OutputError(f"picture {sha} is referred to by a transcript and stands in no pictures/ file")
        return place

    def _group(self, name: str, group: int) -> Any:
        key = (name, group)
        if key not in self._groups:
            with open_table(self._store, name) as table:
                self._groups[key] = table.read_row_group(group)
            while len(self._groups) > self.KEPT_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]
