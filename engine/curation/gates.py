"""Duplicates and leakage: the two gates that compare rows, put between the passes. The work itself is done by a
dataflow that is handed in (`Gates`; pipelines/curation.py), since it needs Ray and this room does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from engine.curation.dedup import DedupOptions, Duplicate
from engine.curation.hashes import PictureHash
from engine.curation.ledger import KEPT, Ledger, position_of
from engine.curation.options import Options
from engine.curation.reading import Run
from engine.curation.selection import Selected
from engine.curation.vectors import with_vectors
from engine.errors import UsageError

SHOWN = 20
COPY = 8 << 20
LEAST_CLUSTER = 1_000
"""Rows that one row may always stand for: in a small set a share says little."""


class PictureHashes(Protocol):
    """Hashes by sha256 of the encoded bytes; None for a picture that could not be read."""

    def get(self, sha256: str) -> PictureHash | None: ...


class Gates(NamedTuple):
    """The dataflows: `pipelines.dedup.find_duplicates`, `hash_pictures`, and `picture_table`."""

    duplicates: Callable[[Sequence[str], Sequence[str], DedupOptions, int, Path], Iterator[Duplicate]]
    hashes: Callable[[Sequence[str], DedupOptions, int, Path], PictureHashes]
    table: Callable[[Path, DedupOptions], PictureHashes]
    """The hashes that a finished deduplication left in its folder."""


@dataclass
class Duplicates:
    """What deduplication dropped. `ran` is False where it was switched off."""

    ran: bool = False
    kinds: Counter[str] = field(default_factory=Counter)
    evidence: dict[int, str] = field(default_factory=dict)
    groups: dict[int, list[tuple[int, Duplicate]]] = field(default_factory=dict)
    sizes: Counter[int] = field(default_factory=Counter)

    def section(self, ledger: Ledger) -> dict[str, Any] | None:
        """The `duplicates` section of curation.json: counts by kind, and the biggest clusters."""
        if not self.ran:
            return None
        clusters = []
        for kept, _ in sorted(self.sizes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]:
            dropped = [
                {
                    "query_id": ledger.query_id(position),
                    "kind": found.kind,
                    "similarity": round(found.similarity, 6),
                    "distance": found.distance,
                }
                for position, found in self.groups[kept]
            ]
            clusters.append({"kept": ledger.query_id(kept), "size": self.sizes[kept], "dropped": dropped})
        kinds = ("exact", "text", "picture", "text+picture", "semantic")
        return {**{kind: self.kinds[kind] for kind in kinds}, "clusters": clusters}


def find_duplicates(
    gates: Gates | None, chosen: Selected, runs: Sequence[Run], options: Options, work: Path
) -> Duplicates:
    """Drop rows whose pictures and text both repeat a better row's."""
    found = Duplicates()
    if gates is None or options.dedup is None:
        return found
    found.ran = True
    ledger, gone, reasons = chosen.ledger, [], []
    pictures = _local_pictures(runs, work)
    items = chosen.items
    if options.dedup.semantic is not None:
        items = with_vectors(items, runs, options.dedup.embedding, work)
    for duplicate in gates.duplicates([str(items)], pictures, options.dedup, options.workers, work / "dedup"):
        position, kept = position_of(duplicate.rank), position_of(duplicate.kept_rank)
        gone.append(position)
        reasons.append(f"duplicate_{duplicate.kind}")
        found.kinds[duplicate.kind] += 1
        found.sizes[kept] += 1
        group = found.groups.setdefault(kept, [])
        if len(group) < SHOWN:
            group.append((position, duplicate))
        found.evidence[position] = (
            f"{duplicate.kind} duplicate of {ledger.query_id(kept)[:16]} (text {duplicate.similarity:.3f}, "
            f"picture {duplicate.distance} of 256 bits)"
        )
    _check_clusters(found, chosen, options.dedup)
    for reason in sorted(set(reasons)):
        ledger.drop(np.array([p for p, r in zip(gone, reasons, strict=True) if r == reason]), "duplicates", reason)
    return found


def _check_clusters(found: Duplicates, chosen: Selected, options: DedupOptions) -> None:
    """UsageError where one row stands for too large a part of the set (`DedupOptions.max_cluster`)."""
    rows = len(chosen.ledger.kept())
    most = max(LEAST_CLUSTER, int(options.max_cluster * rows))
    kept, size = max(found.sizes.items(), key=lambda item: (item[1], -item[0]), default=(0, 0))
    if size > most:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.most_common())
        example = chosen.ledger.query_id(found.groups[kept][0][0])
        raise UsageError(
            f"dedup: {size:,} of {rows:,} rows repeat one row, {chosen.ledger.query_id(kept)} (one of them: {example}; "
            f"all duplicates: {kinds}). More than {most:,} points at a wrong column, one picture for all rows, or too "
            "low a threshold. Look at these two rows; then mend the source, raise dedup.threshold, or say that it is "
            f"right: dedup.max_cluster above {size / rows:.2f}"
        )


@dataclass
class Leaks:
    """What stands in a benchmark."""

    action: str
    indexes: list[str] = field(default_factory=list)
    evidence: dict[int, str] = field(default_factory=dict)
    marks: dict[int, str] = field(default_factory=dict)
    matched: Counter[str] = field(default_factory=Counter)
    pairs: list[dict[str, Any]] = field(default_factory=list)

    def section(self) -> dict[str, Any] | None:
        """The `leakage` section of curation.json."""
        if not self.indexes:
            return None
        return {
            "action": self.action,
            "indexes": self.indexes,
            "matched": self.matched.total(),
            "per_benchmark": dict(sorted(self.matched.items())),
            "pairs": self.pairs,
        }


def find_leaks(gates: Gates | None, chosen: Selected, runs: Sequence[Run], options: Options, work: Path) -> Leaks:
    """Drop or mark rows whose text or picture stands in one of the benchmarks."""
    found = Leaks(options.leakage)
    if options.leakage == "off" or not options.leakage_index:
        return found
    if gates is None:
        raise UsageError("leakage: this way of curating has no leakage gate; use `python -m engine.curate`")
    from engine.curation.leakage import load

    indexes = [load(file) for file in options.leakage_index]
    found.indexes = [index.name for index in indexes]
    hashes = _hashes(gates, runs, options, work)
    ledger, step = chosen.ledger, chosen.ledger.column("step")
    for row in _items(chosen.items):
        position = position_of(row["rank"])
        if step[position] != KEPT:
            continue
        pictures = [hash_ for hash_ in map(hashes.get, row["picture_sha256"]) if hash_ is not None]
        match = next(filter(None, (index.match(row["text"], pictures) for index in indexes)), None)
        if match is not None:
            found.matched[match.benchmark] += 1
            found.evidence[position] = f"{match.kind} of {match.benchmark} {match.key} ({match.similarity:.3f})"
            if len(found.pairs) < SHOWN:
                found.pairs.append({"query_id": row["query_id"], **match._asdict()})
    if options.leakage == "drop":
        ledger.drop(np.array(sorted(found.evidence), dtype=np.int64), "leakage", "leakage")
    else:
        found.marks, found.evidence = found.evidence, {}
    return found


def _hashes(gates: Gates, runs: Sequence[Run], options: Options, work: Path) -> PictureHashes:
    """Deduplication has hashed every picture already, where it ran."""
    if options.dedup is not None:
        return gates.table(work / "dedup", options.dedup)
    return gates.hashes(_local_pictures(runs, work), DedupOptions(), options.workers, work / "leak")


def _items(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches(4096):
        yield from batch.to_pylist()


def _local_pictures(runs: Sequence[Run], work: Path) -> list[str]:
    """The picture shards as files of this machine; those of object stores are copied to `work` once."""
    found = []
    for number, run in enumerate(runs):
        for file in run.files("pictures"):
            if run.store.is_local:
                found.append(run.store.path(file["path"]))
                continue
            copy = work / f"pictures-{number}-{Path(file['path']).name}"
            if not copy.exists():
                with run.store.open(file["path"]) as source, copy.open("wb") as target:
                    while chunk := source.read(COPY):
                        target.write(chunk)
            found.append(str(copy))
    return found
