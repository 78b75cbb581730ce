"""Contrast pairs: a safe and an unsafe query on the same picture(s). They teach to look at the query too."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.curation.ledger import Ledger


def picture_key(transcript: dict[str, Any]) -> int:
    """64 bits for the row's pictures, in order; 0 for none."""
    if not transcript["picture_sha256"]:
        return 0
    return int.from_bytes(blake2b("".join(transcript["picture_sha256"]).encode(), digest_size=8).digest()) or 1


def partners(ledger: Ledger) -> npt.NDArray[np.int64]:
    """(rows,): for each kept row with a label, the best kept row of the other label on its pictures, else -1."""
    found = np.full(len(ledger), -1, dtype=np.int64)
    kept = ledger.kept()
    pictures, labels = ledger.column("picture")[kept], ledger.column("label")[kept]
    able = (pictures != 0) & (labels >= 0)
    rows, pictures, labels = kept[able], pictures[able], labels[able]
    order = np.lexsort((ledger.column("rank")[rows], labels, pictures))
    rows, pictures, labels = rows[order], pictures[order], labels[order]
    for label in (0, 1):
        mine, others = labels == label, labels != label
        keys, first = np.unique(pictures[others], return_index=True)
        if not len(keys):
            continue
        at = np.minimum(np.searchsorted(keys, pictures[mine]), len(keys) - 1)
        hit = keys[at] == pictures[mine]
        found[rows[mine][hit]] = rows[others][first[at[hit]]]
    return found
