"""Sealed runs, read batch by batch: checked first, then the same way by curation, report and export."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from engine.errors import OutputError, UsageError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.version import SCHEMA_VERSION

BATCH = 256
CHUNK = 8 << 20


@dataclass(frozen=True)
class Run:
    """One sealed run."""

    store: Store
    manifest: dict[str, Any]
    manifest_sha256: str

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    def files(self, table: str) -> list[dict[str, Any]]:
        """The manifest's entries of one table, in order."""
        return [file for file in self.manifest["files"] if file["path"].startswith(f"{table}/")]


def open_runs(urls: Sequence[str], *, allow_partial: bool) -> list[Run]:
    """The runs in the order given.

    Raises UsageError: not sealed, partial without leave, another schema version, given twice, a shard that is missing
    or is not what the manifest says (size of the table, sha256).
    """
    runs = [_open(url, allow_partial) for url in urls]
    seen: dict[str, str] = {}
    for run in runs:
        if run.run_id in seen:
            raise UsageError(f"{run.store.url}: the same run as {seen[run.run_id]} (run_id {run.run_id}); give it once")
        seen[run.run_id] = run.store.url
    for run in runs:
        for file in run.manifest["files"]:
            _check_file(run.store, file)
    return runs


def _open(url: str, allow_partial: bool) -> Run:
    manifest = read_manifest(url)
    if manifest is None:
        raise UsageError(f"{url}: no manifest.json there: not a sealed run (generate seals at its end)")
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise UsageError(
            f"{url}: sealed with schema version {manifest['schema_version']}, this engine reads {SCHEMA_VERSION}; "
            "curate each run with the engine that made it, or generate again"
        )
    if manifest["status"] == "partial" and not allow_partial:
        raise UsageError(f"{url}: the run is partial; finish it with generate, or pass --allow-partial")
    store = Store(url)
    return Run(store, manifest, sha256(store.read("manifest.json")).hexdigest())


def _check_file(store: Store, file: dict[str, Any]) -> None:
    digest = sha256()
    try:
        with store.open(file["path"]) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    except (OSError, OutputError) as error:
        raise UsageError(f"{store.url}: {file['path']} stands in the manifest and cannot be read: {error}") from error
    if digest.hexdigest() != file["sha256"]:
        raise UsageError(
            f"{store.url}: {file['path']} has sha256 {digest.hexdigest()[:12]}…, the manifest says "
            f"{file['sha256'][:12]}…: the file was changed or half copied; copy the run again, or seal it again"
        )


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

    def __contains__(self, sha: str) -> bool:
        return bytes.fromhex(sha) in self._where

    def images(self, wanted: set[str]) -> dict[str, dict[str, Any]]:
        """sha256 -> {bytes, path}, as the Image feature stores it. OutputError for a picture that the run lacks."""
        found: dict[str, dict[str, Any]] = {}
        places = {sha: self._place(sha) for sha in wanted}
        for sha, (name, group, row) in sorted(places.items(), key=lambda item: item[1]):
            found[sha] = self._group(name, group).column("image")[row].as_py()
        return found

    def encoded(self, sha: str) -> bytes:
        """The bytes of one picture."""
        return bytes(self.images({sha})[sha]["bytes"])

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
