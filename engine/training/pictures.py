"""Pictures of a training set: encoded bytes wait on disk, what the processor makes of them stays in memory up to a
budget, so that each picture of a small set is decoded once."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from typing import Any

from engine.backends import features
from engine.backends.features import Features
from engine.backends.prompting import prepare
from engine.pictures import inspect
from engine.types import Picture

KEPT_BYTES = 2 * 2**30


class PictureStore:
    """Pictures by sha256. Safe to fork: every process reads the same unlinked file by position."""

    def __init__(self, processor: Any, placeholder: str, prep: str, kept_bytes: int = KEPT_BYTES) -> None:
        self._processor, self._placeholder, self._prep = processor, placeholder, prep
        self._file = tempfile.TemporaryFile(prefix="ecso-pictures-")  # noqa: SIM115 (lives as long as the store)
        self._places: dict[str, tuple[int, int, Picture]] = {}
        self._end = 0
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._bytes, self._budget = 0, kept_bytes

    def add(self, data: bytes, name: str) -> Picture:
        """Check and keep one encoded picture; what is given back holds no bytes. SourceError: it does not decode."""
        found = inspect(data, name)
        if found.sha256 not in self._places:
            os.pwrite(self._file.fileno(), data, self._end)
            bare = Picture(b"", found.sha256, found.width, found.height, found.format)
            self._places[found.sha256] = (self._end, len(data), bare)
            self._end += len(data)
        return self._places[found.sha256][2]

    def __len__(self) -> int:
        return len(self._places)

    def features(self, picture: Picture) -> Features:
        """Ids and tensors of a picture that was added."""
        kept = self._kept.get(picture.sha256)
        if kept is not None:
            self._kept.move_to_end(picture.sha256)
            return kept
        made = features.make(self._processor, self._placeholder, prepare(self._whole(picture), self._prep))
        self._kept[picture.sha256] = made
        self._bytes += made.bytes
        while self._bytes > self._budget and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].bytes
        return made

    def _whole(self, picture: Picture) -> Picture:
        start, size, bare = self._places[picture.sha256]
        data = os.pread(self._file.fileno(), size, start)
        return Picture(data, bare.sha256, bare.width, bare.height, bare.format)
