"""The arm tuned on reference answers, on exactly the rows of the arm tuned on ECSO's answers.

A comparison of answers needs the same questions. The reference run answers every query of the source; what ECSO's
curation kept decides which of them are trained on, in both arms.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.errors import OutputError, UsageError
from engine.export.read import open_curated
from engine.journal.store import Store
from engine.parquet import TableWriter

SHOWN = 5
CURATE: dict[str, Any] = {
    "filters": ["verdict"],
    "dedup": False,
    "leakage": "off",
    "max_share": 1.0,
    "report": False,
}
"""How the reference run is curated: answers that people checked are not filtered, the rows are chosen afterwards."""


def query_ids(curated: str | Path, table: str = "sft") -> list[str]:
    """The query ids of one table of a curated set, in its order."""
    return [row["query_id"] for row in open_curated(str(curated)).raw(table, ["query_id"])]


def match(reference: Path, ecso: Path, out: Path) -> int:
    """Write `out`: the rows of `reference` that `ecso` trains on, sealed as a curated set; how many.

    Raises UsageError where the reference set lacks one of them, OutputError where the two sets of query ids differ
    after writing (a bug of ours).
    """
    wanted = query_ids(ecso)
    source = open_curated(str(reference))
    source.check("sft")
    missing = set(wanted) - set(query_ids(reference))
    if missing:
        shown = ", ".join(sorted(missing)[:SHOWN])
        raise UsageError(
            f"{reference}: no usable reference answer for {len(missing)} of the {len(wanted)} queries that the ECSO "
            f"arm trains on ({shown} …): the arms cannot be compared; see its rejected/, or leave the arm out"
        )
    store = Store(str(out))
    store.ensure()
    keep = set(wanted)
    with TableWriter(store, "sft", "sft") as writer:
        for name in [file["path"] for file in source.document["files"] if file["path"].startswith("sft/")]:
            for rows in _batches(source.store, name):
                writer.write([row for row in rows if row["query_id"] in keep])
        files = [shard.entry() for shard in writer.close()]
    document = {**source.document, "files": files}
    document["counts"] = {**document.get("counts", {}), "sft": len(wanted), "preference": 0}
    store.write("curation.json", json.dumps(document, indent=1).encode())
    assert_equal(out, ecso)
    return len(wanted)


def assert_equal(one: Path, other: Path) -> None:
    """OutputError unless both sets hold the same query ids, each as often."""
    first, second = sorted(query_ids(one)), sorted(query_ids(other))
    if first != second:
        odd = sorted(set(first) ^ set(second))[:SHOWN]
        raise OutputError(f"{one} and {other} hold other queries: {len(first)} and {len(second)} rows, odd ones: {odd}")


def _batches(store: Store, name: str) -> Any:
    import pyarrow.parquet as pq

    with store.open(name) as file:
        for batch in pq.ParquetFile(file).iter_batches(256, use_threads=False):
            yield batch.to_pylist()
