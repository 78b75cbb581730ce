"""The version folders of a lineage: which are sealed, which one is under way, and that old ones stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from engine.errors import OutputError, UsageError
from engine.journal.manifest import MANIFEST, read_manifest
from engine.journal.run import RUN
from engine.journal.store import Store
from engine.lineage.document import LINEAGE, is_lineage, read_lineage


def name_of(number: int) -> str:
    """1 -> v0001."""
    return f"v{number:04d}"


def join(root: str, name: str) -> str:
    """The folder of a version; `root` may be s3://."""
    return f"{root.rstrip('/')}/{name}"


@dataclass(frozen=True)
class State:
    """What ROOT holds. Versions are numbered without a gap, so the first that is not there ends the look."""

    root: str
    sealed: tuple[str, ...]
    """Names of the complete versions, oldest first."""
    open: str | None
    """The version that was begun and is not complete: only ever the last one."""
    known: dict[str, int | None] = field(default_factory=dict)
    """What lineage.json says each version had skipped."""

    @property
    def current(self) -> str:
        """The version to work in: the one under way, else a new one."""
        return self.open or name_of(len(self.sealed) + 1)

    def urls(self) -> list[str]:
        return [join(self.root, name) for name in self.sealed]


def look(root: str) -> State:
    """Find the versions. Hold the lock of ROOT.

    UsageError: ROOT is an ordinary run, a version was changed since it was listed, or one before the last is not whole.
    """
    store = Store(root)
    if store.exists(MANIFEST) or store.exists(RUN):
        raise UsageError(f"--since-last: {root} is an ordinary run, no lineage; choose another --out")
    document = read_lineage(root)
    listed = {each["version"]: each for each in document["versions"]} if document else {}
    sealed: list[str] = []
    under_way: str | None = None
    number = 1
    while (begun := _begun(root, name_of(number))) is not None:
        name = name_of(number)
        if under_way is not None:
            raise UsageError(
                f"{join(root, under_way)}: unfinished, though {name} follows it; finish it by itself first"
            )
        if begun == "complete":
            sealed.append(name)
        else:
            under_way = name
        number += 1
    gone = [name for name in listed if name not in sealed and name != under_way]
    if gone:
        raise UsageError(f"{root}: {LINEAGE} lists {', '.join(gone)}, which is not there; put it back, or start anew")
    check_unchanged(root, listed, sealed)
    return State(root, tuple(sealed), under_way, {name: each["known"] for name, each in listed.items()})


def _begun(root: str, name: str) -> str | None:
    """complete, partial, open (never sealed), or None where no run was begun."""
    url = join(root, name)
    manifest = read_manifest(url)
    if manifest is not None:
        return str(manifest["status"])
    return "open" if Store(url).exists(RUN) else None


def digests(root: str, names: Sequence[str]) -> dict[str, str]:
    """Version -> sha256 of its manifest, which holds the sha256 of every shard."""
    return {name: sha256(Store(join(root, name)).read(MANIFEST)).hexdigest() for name in names}


def check_unchanged(root: str, listed: dict[str, dict[str, Any]], sealed: Sequence[str]) -> None:
    """UsageError where a complete version is not what was listed."""
    found = digests(root, [name for name in sealed if name in listed])
    for name, digest in found.items():
        if listed[name]["status"] == "complete" and listed[name]["manifest_sha256"] != digest:
            raise UsageError(
                f"{join(root, name)}: sealed again since {LINEAGE} listed it (manifest {digest[:12]}…, listed "
                f"{listed[name]['manifest_sha256'][:12]}…). Versions are never changed: put the old one back, or "
                f"remove {LINEAGE} to take the folder as it is"
            )


def assert_untouched(root: str, before: dict[str, str]) -> None:
    """OutputError where a version of `before` (see `digests`) changed: its manifest, or a shard that is gone or has
    another size. Bytes of all shards are compared with their sha256 whenever the lineage is curated."""
    if digests(root, list(before)) != before:
        raise OutputError(f"{root}: the manifest of an older version changed while a new one was made")
    for name in before:
        store = Store(join(root, name))
        missing = [
            file["path"]
            for file in (read_manifest(store.url) or {"files": []})["files"]
            if not store.exists(file["path"])
        ]
        if missing:
            raise OutputError(f"{store.url}: {missing[0]} of an older version is gone")


def expand(urls: Sequence[str]) -> list[str]:
    """The runs that these folders stand for: a lineage is its complete versions, anything else itself."""
    found: list[str] = []
    for url in urls:
        found += look(url).urls() if is_lineage(url) else [url]
    return found


def refuse(url: str) -> None:
    """UsageError where an ordinary run is about to begin in the root of a lineage."""
    if is_lineage(url):
        raise UsageError(f"--out {url} is a lineage; add --since-last for its next version, or choose another --out")
