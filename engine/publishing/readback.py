"""What the Hub holds, read back and compared with the folder: schema and rows of every shard, and the card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.errors import OutputError
from engine.publishing.hub import Hub
from engine.publishing.push import CARD, Target, address, file_system

BLOCK = 1 << 20


def checker(read_back: str) -> Callable[[Hub, Target, str], None]:
    """The check for `publish.read_back`: "footers" or "bytes"."""
    return _check_bytes if read_back == "bytes" else _check_footers


def _check_footers(hub: Hub, target: Target, revision: str) -> None:
    """Every shard's schema (features included) and row count, and the card as text. OutputError names what differs.

    Checksums are compared before, as the Hub states them: it computes them itself when a file arrives.
    """
    import pyarrow.parquet as pq

    for name, local in target.files.items():
        if name.endswith(".parquet"):
            here = pq.read_metadata(local.path)
            there = hub.patiently(f"reading {name} of {target.repo}", partial(_footer, hub, target, name, revision))
            if there.num_rows != here.num_rows:
                raise OutputError(f"{target.repo}/{name}: {there.num_rows} rows on the Hub, {here.num_rows} here")
            if not there.schema.to_arrow_schema().equals(here.schema.to_arrow_schema(), check_metadata=True):
                raise OutputError(f"{target.repo}/{name}: another schema on the Hub than here")
        elif name == CARD:
            _same_bytes(hub, target, name, revision)


def _check_bytes(hub: Hub, target: Target, revision: str) -> None:
    """All bytes of all files."""
    _check_footers(hub, target, revision)
    for name in target.files:
        _same_bytes(hub, target, name, revision)


def _footer(hub: Hub, target: Target, name: str, revision: str) -> Any:
    import pyarrow.parquet as pq

    with file_system(hub).open(address(target, name, revision), "rb", block_size=BLOCK) as file:
        return pq.read_metadata(file)


def _same_bytes(hub: Hub, target: Target, name: str, revision: str) -> None:
    def digest() -> str:
        whole = hashlib.sha256()
        with file_system(hub).open(address(target, name, revision), "rb", block_size=8 * BLOCK) as file:
            while piece := file.read(8 * BLOCK):
                whole.update(piece)
        return whole.hexdigest()

    found = hub.patiently(f"reading {name} of {target.repo}", digest)
    if found != target.files[name].sha256:
        raise OutputError(f"{target.repo}/{name}: what the Hub sends is not what was pushed (sha256 {found})")
