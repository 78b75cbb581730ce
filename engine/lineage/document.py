"""ROOT/lineage.json: which versions a lineage has, what each took, and what it was sealed as.

The manifests are the truth and this file lists them. It is written after a version's seal, so a kill in between leaves
a version unlisted; the next start lists it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import schemas
from engine.errors import OutputError, UsageError
from engine.journal.manifest import MANIFEST, read_manifest
from engine.journal.run import differences
from engine.journal.store import Store
from engine.version import SCHEMA_VERSION, version

LINEAGE = "lineage.json"
COUNTS = ("read", "transcripts", "duplicates", "ok", "unresolved", "error")


def is_lineage(url: str) -> bool:
    """Whether this folder is the root of a lineage."""
    return Store(url).exists(LINEAGE)


def read_lineage(url: str) -> dict[str, Any] | None:
    """The document, or None where there is none. UsageError for a damaged one."""
    store = Store(url)
    try:
        found = json.loads(store.read(LINEAGE))
        schemas.check("lineage", found, where=store.path(LINEAGE))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UsageError(
            f"{store.path(LINEAGE)}: damaged ({error}). The versions' own manifests hold all it says: remove this "
            "file and run the same command again"
        ) from error
    return dict(found)


def entry(root: str, name: str, known: int | None, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the lineage says of one sealed version.

    `known`: rows of its source that earlier versions had answered already; None where nobody counted them. `before`:
    the manifest of the version before it, to name the settings that changed.
    """
    url = f"{root.rstrip('/')}/{name}"
    manifest = read_manifest(url)
    if manifest is None:
        raise OutputError(f"{url}: not sealed")
    changed = [] if before is None else differences(before["fingerprint_fields"], manifest["fingerprint_fields"])
    return {
        "version": name,
        "run_id": manifest["run_id"],
        "fingerprint": manifest["fingerprint"],
        "status": manifest["status"],
        "scripted": manifest["scripted"],
        "started_at": manifest["started_at"],
        "finished_at": manifest["finished_at"],
        "manifest_sha256": sha256(Store(url).read(MANIFEST)).hexdigest(),
        "known": known,
        "counts": {key: manifest["counts"][key] for key in COUNTS},
        "changed": [name for name, _, _ in changed],
    }


def write_lineage(root: str, versions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Check the document against its schema and swap it in."""
    document = {
        "kind": "lineage",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "versions": [dict(each) for each in versions],
        "totals": {key: sum(each["counts"][key] for each in versions) for key in COUNTS},
    }
    try:
        schemas.check("lineage", document, where=LINEAGE)
    except schemas.SchemaError as error:
        raise OutputError(f"the lineage does not match its schema: {error}") from error
    Store(root).write(LINEAGE, json.dumps(document, indent=1, ensure_ascii=False).encode())
    return document
