"""Which rows of a source no earlier version has answered, by their content.

Pictures are read and hashed here, not decoded. Only numbers of rows are kept: 8 bytes a new row, 16 a known query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.curation.reading import transcripts
from engine.errors import SourceError, UsageError
from engine.journal.index import DIGEST, Done
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.pictures import PictureCaps
from engine.sources import Plan, Selection, SourceRow, Window, bad_row_id, iter_rows, load
from engine.sources.records import text_problem
from engine.types import query_id

AT_ONCE = 256
THREADS = 8
"""Pictures that are read at once: their files may be far away."""


@dataclass(frozen=True)
class Fresh:
    """A window of which only some rows are taken, by their numbers in the source."""

    window: Window
    selection: Selection
    indices: npt.NDArray[np.int64]
    """Sorted."""

    @property
    def count(self) -> int | None:
        return len(self.indices)

    def rows(self) -> Iterator[SourceRow]:
        for row in iter_rows(self.window, self.selection):
            at = int(np.searchsorted(self.indices, row.index))
            if at < len(self.indices) and self.indices[at] == row.index:
                yield row


class Found(NamedTuple):
    """The rows to take, and how many of the source were known."""

    plan: Plan
    known: int


def answered(urls: Sequence[str], *, retry_errors: bool = False) -> Done:
    """The queries of these sealed runs. A row that failed counts as answered, unless `retry_errors`."""
    ids: list[bytes] = []
    for url in urls:
        manifest = read_manifest(url)
        if manifest is None:
            raise UsageError(f"{url}: not sealed")
        for batch in transcripts(Store(url), manifest, ["query_id", "status"]):
            ids += [
                bytes.fromhex(row["query_id"][:32]) for row in batch if not (retry_errors and row["status"] == "error")
            ]
    return Done(ids=np.unique(np.array(ids, DIGEST)) if ids else Done().ids)


def fresh(plan: Plan, known: Done, caps: PictureCaps, limit: int | None = None) -> Found:
    """The rows of `plan` that are not in `known`, the first `limit` of them."""
    windows: list[tuple[Window, Selection]] = []
    total = seen = 0
    for window, selection in plan.windows:
        left = None if limit is None else limit - total
        if left is not None and left <= 0:
            break
        indices: list[int] = []
        for row, new in _look(iter_rows(window, selection), known, caps):
            if not new:
                seen += 1
            elif left is None or len(indices) < left:
                indices.append(row.index)
            else:
                break
        if indices:
            windows.append((Fresh(window, selection, np.array(sorted(indices), np.int64)), Selection()))
            total += len(indices)
    return Found(Plan(total, windows), seen)


def _look(rows: Iterator[SourceRow], known: Done, caps: PictureCaps) -> Iterator[tuple[SourceRow, bool]]:
    """Every row, and whether it is new."""
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(rows, AT_ONCE)):
            ids = list(pool.map(lambda row: content_id(row, caps), some))
            bad = [bad_row_id(row.source, row.key) for row in some]
            answered_as = known.has_ids(ids)
            was_bad = known.has_ids(bad)
            for row, identity, same, failed in zip(some, ids, answered_as, was_bad, strict=True):
                if failed and not same:
                    # It could not be read then: known only if it cannot be read now either.
                    same = _is_bad(row, caps) or bool(known.has_id(identity))
                yield row, not same


def content_id(row: SourceRow, caps: PictureCaps) -> str:
    """The row's query id without decoding its pictures; `bad_row_id` where it cannot be read."""
    if row.problem or text_problem(row.text):
        return bad_row_id(row.source, row.key)
    try:
        digests = [sha256(picture.read(caps.max_bytes)).digest() for picture in row.pictures]
    except SourceError:
        return bad_row_id(row.source, row.key)
    return query_id(digests, row.text)


def _is_bad(row: SourceRow, caps: PictureCaps) -> bool:
    try:
        load(row, caps=caps)
    except SourceError:
        return True
    return False
