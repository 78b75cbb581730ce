"""What a run has done already, from the heads of the journal's records: no body is parsed, so a resume starts at once.

Covered: every whole record of every segment. Not covered: rows whose sealed tables exist while the journal was removed
by hand; without its journal a run cannot be resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.journal import frames
from engine.journal.frames import Damage, Frame
from engine.journal.segments import ROWS, iter_frames, segments
from engine.journal.store import Store

Digests = npt.NDArray[np.bytes_]
DIGEST = "S16"
"""Fixed width: numpy drops trailing NULs when it hands one out, but compares and sorts all 16 bytes."""
KINDS = {kind: code for code, kind in enumerate(frames.KINDS)}

_RECORD = np.dtype(
    [
        ("digest", DIGEST),
        ("key", DIGEST),
        ("time", np.uint64),
        ("source_index", np.int64),
        ("offset", np.int64),
        ("length", np.uint32),
        ("segment", np.uint32),
        ("kind", np.uint8),
    ]
)
"""65 bytes a record, packed."""
_GROWTH = 1 << 16


def no_digests() -> Digests:
    """An empty set of digests."""
    return np.empty(0, DIGEST)


@dataclass(frozen=True)
class Done:
    """The query ids and the source rows that are done, as sorted 16-byte digests: 32 bytes a row.

    Plain numpy inside: Ray's object store hands it to every worker without a copy.
    """

    ids: Digests = field(default_factory=no_digests)
    keys: Digests = field(default_factory=no_digests)
    accepted: int = 0
    """Ids whose answer was accepted (status ok): what `--target-accepted` counts."""

    def has_id(self, query_id: str) -> bool:
        """Whether this query id is done."""
        return bool(self.has_ids([query_id])[0])

    def has_key(self, source_key: str) -> bool:
        """Whether this source row is done."""
        return bool(self.has_keys([source_key])[0])

    def has_ids(self, query_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """One answer a query id."""
        return _contains(self.ids, [bytes.fromhex(query_id[:32]) for query_id in query_ids])

    def has_keys(self, source_keys: Sequence[str]) -> npt.NDArray[np.bool_]:
        """One answer a source key."""
        return _contains(self.keys, [frames.key_digest(key) for key in source_keys])


def _contains(sorted_digests: Digests, wanted: list[bytes]) -> npt.NDArray[np.bool_]:
    if not len(sorted_digests):
        return np.zeros(len(wanted), bool)
    found = np.array(wanted, DIGEST)
    at = np.minimum(np.searchsorted(sorted_digests, found), len(sorted_digests) - 1)
    return np.asarray(sorted_digests[at] == found)


class Records:
    """Heads of many records in one growing array (65 bytes each), and where each stands."""

    def __init__(self) -> None:
        self.segments: list[str] = []
        self.damage = Damage()
        self._array = np.empty(_GROWTH, _RECORD)
        self._count = 0

    @property
    def array(self) -> npt.NDArray[Any]:
        """The records read so far."""
        return self._array[: self._count]

    def read(self, store: Store, segment: str) -> None:
        """Add the heads of one segment."""
        number = len(self.segments)
        self.segments.append(segment)
        self.add(iter_frames(store, segment, self.damage), number)

    def add(self, found: Any, number: int) -> None:
        """Add the heads of these frames, in pieces so that no body is held."""
        piece: list[tuple[bytes, bytes, int, int, int, int, int, int]] = []
        for frame in found:
            piece.append(_head(frame, number))
            if len(piece) == 4096:
                self._extend(piece)
                piece = []
        self._extend(piece)

    def _extend(self, piece: list[tuple[bytes, bytes, int, int, int, int, int, int]]) -> None:
        end = self._count + len(piece)
        if end > len(self._array):
            grown = np.empty(max(end, len(self._array) * 3 // 2), _RECORD)
            grown[: self._count] = self.array
            self._array = grown
        self._array[self._count : end] = piece
        self._count = end


def _head(frame: Frame, number: int) -> tuple[bytes, bytes, int, int, int, int, int, int]:
    return (
        frame.digest,
        frame.key,
        frame.time_ns,
        frame.source_index,
        frame.offset,
        frame.length,
        number,
        KINDS[frame.kind],
    )


def read_records(store: Store, suffix: str = ROWS) -> Records:
    """The heads of all segments of this kind."""
    records = Records()
    for segment in segments(store, suffix):
        records.read(store, segment)
    return records


def is_error(kinds: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which records are rows that failed."""
    return np.isin(kinds, [KINDS[frames.ERROR], KINDS[frames.SOURCE_ERROR]])


def done(url: str, *, retry_errors: bool = False) -> Done:
    """What the journal at `url` holds. The reader skips a row whose key is done; a row whose id is done under another
    key is a duplicate.

    A failed row is done too, unless `retry_errors`: then only an id or a source row that has an answer is. A duplicate
    is done if the row that it repeats has a transcript; a note about a row that never finished counts for nothing.
    """
    records = read_records(Store(url)).array
    notes = records["kind"] == KINDS[frames.DUPLICATE]
    failed = is_error(records["kind"])
    journalled = np.unique(records["digest"][~notes])
    repeated = notes & np.isin(records["digest"], journalled)
    answered = ~notes & ~failed if retry_errors else ~notes
    return Done(
        ids=np.unique(records["digest"][answered]),
        keys=np.unique(records["key"][answered | repeated]),
        accepted=len(np.unique(records["digest"][records["kind"] == KINDS[frames.OK]])),
    )
