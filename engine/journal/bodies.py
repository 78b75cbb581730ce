"""Journal records by their index, as sealing reads them: in place, or from one copy of an object store's segments."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from engine.errors import OutputError
from engine.journal import frames
from engine.journal.frames import Frame
from engine.journal.index import Records
from engine.journal.local import FULL, write_failed
from engine.journal.segments import PICTURES, ROWS, segments
from engine.journal.store import Store

OPEN_FILES = 128


@contextmanager
def local_journal(store: Store) -> Iterator[Store]:
    """The journal where it can be read by offset: in place, or downloaded once from an object store."""
    if store.is_local:
        yield store
        return
    with tempfile.TemporaryDirectory(prefix="ecso-seal-") as folder:
        local = Store(folder)
        for segment in segments(store, ROWS) + segments(store, PICTURES):
            _download(store, segment, local.path(segment))
        yield local


def _download(store: Store, segment: str, target: str) -> None:
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with store.open(segment) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file, 8 << 20)
    except OSError as error:
        if error.errno in FULL:
            raise write_failed(target, error) from error
        raise


class Bodies:
    """Records by index: random reads with a bounded number of open files (a long run leaves many segments)."""

    def __init__(self, journal: Store, records: Records) -> None:
        self._journal = journal
        self._records = records
        self._open: OrderedDict[int, int] = OrderedDict()

    def __enter__(self) -> Bodies:
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as stack:
            for descriptor in self._open.values():
                stack.callback(os.close, descriptor)

    def body(self, index: np.int64) -> bytes:
        """The record's body. OutputError where the file changed since the index pass."""
        record = self._records.array[index]
        segment, offset = int(record["segment"]), int(record["offset"])
        data = os.pread(self._descriptor(segment), int(record["length"]), offset)
        frame: Frame | None = frames.decode(data, offset)
        if frame is None:
            raise OutputError(f"{self._records.segments[segment]}: changed while it was being sealed")
        return frame.body

    def _descriptor(self, segment: int) -> int:
        found = self._open.get(segment)
        if found is None:
            if len(self._open) >= OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            found = os.open(self._journal.path(self._records.segments[segment]), os.O_RDONLY | os.O_CLOEXEC)
            self._open[segment] = found
        self._open.move_to_end(segment)
        return found
