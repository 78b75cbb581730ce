"""What may be published: a curated set whose seals, shards and runs are whole, and the runs' own manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.curation.reading import Run, open_table
from engine.errors import UsageError
from engine.export.read import Curated, open_curated
from engine.journal.manifest import MANIFEST, read_manifest
from engine.journal.store import Store
from engine.lineage import expand

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Source:
    """A curated set and the sealed runs that it was made from."""

    curated: Curated
    runs: Sequence[Run]

    @property
    def scripted(self) -> bool:
        return any(run.manifest["scripted"] for run in self.runs)

    @property
    def partial(self) -> bool:
        return any(run.manifest["status"] == "partial" for run in self.runs)

    @property
    def document(self) -> Mapping[str, Any]:
        return self.curated.document

    def tables(self, name: str) -> Iterator[tuple[int, pa.Table]]:
        """(number of the shard, row group) in their order. UsageError where a shard has other columns than expected."""
        import schemas

        pinned = schemas.arrow_schema(name)
        for number, file in enumerate(self.document["files"]):
            if file["path"].startswith(f"{name}/"):
                with open_table(self.curated.store, file["path"]) as shard:
                    if not shard.schema_arrow.equals(pinned):
                        raise UsageError(
                            f"{self.curated.store.path(file['path'])}: not the columns of this engine's {name} table; "
                            "curate the run again"
                        )
                    for group in range(shard.num_row_groups):
                        yield number, shard.read_row_group(group)


def open_source(path: str, runs: Sequence[str], *, allow_partial: bool) -> Source:
    """The set and its runs, checked.

    UsageError: no seal, a damaged or changed shard, a run that is missing, partial without leave, or sealed since.
    """
    curated = open_curated(path, allow_partial=allow_partial)
    for table in ("sft", "preference"):
        curated.check(table)
    if curated.rows("sft") == 0:
        raise UsageError(f"{path}: curation kept no row; its report says why. There is nothing to publish")
    found = _runs(curated, expand(runs or [path]))
    for run in found:
        if run.manifest["status"] == "partial" and not allow_partial:
            raise UsageError(f"{run.store.url}: the run is partial; finish it with generate, or pass --allow-partial")
    return Source(curated, found)


def _runs(curated: Curated, urls: Sequence[str]) -> list[Run]:
    wanted = {each["run_id"]: each["manifest_sha256"] for each in curated.document["runs"]}
    found: dict[str, Run] = {}
    for url in urls:
        manifest = read_manifest(url)
        if manifest is None:
            raise UsageError(
                f"{url}: no {MANIFEST} there. Only sealed runs are published; where the set was curated elsewhere "
                "(curate --out), name the runs' folders with --run"
            )
        run_id = str(manifest["run_id"])
        digest = hashlib.sha256(Store(url).read(MANIFEST)).hexdigest()
        if run_id not in wanted:
            raise UsageError(f"{url}: run {run_id} is not among those curated: {', '.join(wanted)}")
        if digest != wanted[run_id]:
            raise UsageError(f"{url}: the run was sealed again after it was curated; curate it again")
        found[run_id] = Run(Store(url), manifest, digest)
    missing = [run_id for run_id in wanted if run_id not in found]
    if missing:
        raise UsageError(f"runs {', '.join(missing)} were curated, but not found; name their folders with --run")
    return [found[run_id] for run_id in wanted]
