"""manifest.json: the one file that says what a sealed output holds. Written last, replaced in one step."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, BinaryIO

from engine.errors import OutputError, UsageError
from engine.journal.store import Store
from schemas import SchemaError, check

MANIFEST = "manifest.json"


def read_manifest(url: str) -> dict[str, Any] | None:
    """The manifest, or None where the output was never sealed. UsageError for a damaged one."""
    store = Store(url)
    try:
        found = json.loads(store.read(MANIFEST))
        check("manifest", found, where=store.path(MANIFEST))
    except FileNotFoundError:
        return None
    except SchemaError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(
            f"{store.path(MANIFEST)}: damaged, no JSON ({error}). The journal holds every row: remove this "
            "file and run the same command again"
        ) from error
    return dict(found)


def write_manifest(store: Store, document: Mapping[str, Any]) -> None:
    """Check the manifest against its schema and swap it in. OutputError where it does not match: a bug of ours."""
    try:
        check("manifest", document)
    except SchemaError as error:
        raise OutputError(f"the manifest does not match its schema: {error}") from error
    store.write(MANIFEST, json.dumps(document, indent=1, ensure_ascii=False).encode())


def verify(url: str) -> None:
    """Read every file that the manifest names: checksum and rows, and the counts against the rows.

    UsageError where there is no manifest; OutputError names the first file that does not add up.
    """
    store = Store(url)
    manifest = read_manifest(url)
    if manifest is None:
        raise UsageError(f"{url}: not sealed (no {MANIFEST})")
    rows: Counter[str] = Counter()
    for entry in manifest["files"]:
        _verify_file(store, entry)
        rows[entry["path"].partition("/")[0]] += entry["rows"]
    for table in ("transcripts", "pictures"):
        found = rows[table]
        if found != manifest["counts"][table]:
            raise OutputError(f"{url}: {found} rows in {table}/, the manifest counts {manifest['counts'][table]}")


def _verify_file(store: Store, entry: Mapping[str, Any]) -> None:
    import pyarrow.parquet as pq

    path = entry["path"]
    try:
        with store.open(path) as file:
            found = _sha256(file)
            if found != entry["sha256"]:
                raise OutputError(f"{store.path(path)}: sha256 is {found}, the manifest says {entry['sha256']}")
            file.seek(0)
            rows = pq.read_metadata(file).num_rows
    except FileNotFoundError as error:
        raise OutputError(f"{store.path(path)}: named by the manifest, but missing") from error
    if rows != entry["rows"]:
        raise OutputError(f"{store.path(path)}: {rows} rows, the manifest says {entry['rows']}")


def _sha256(file: BinaryIO) -> str:
    whole = hashlib.sha256()
    while piece := file.read(8 << 20):
        whole.update(piece)
    return whole.hexdigest()
