"""A run's pictures by sha256, as `Picture`, read row group by row group with a few of them kept.

28 bytes a picture in memory, and KEPT_GROUPS row groups (64 MB each). Transcripts stand in source order and pictures in
the order in which they are first referred to, so neighbouring rows need the same row groups. Safe to share by threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.errors import OutputError
from engine.journal.index import DIGEST, no_digests
from engine.journal.store import Store
from engine.judges.files import digests
from engine.types import Picture

KEPT_GROUPS = 3


class RunPictures:
    """Opened at first use: a judge that shows no pictures reads none."""

    def __init__(self, store: Store, manifest: Mapping[str, Any]) -> None:
        self._store = store
        self._files = [file["path"] for file in manifest["files"] if file["path"].startswith("pictures/")]
        self._groups: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._lock = threading.Lock()
        self._ready = False

    def get(self, wanted: Sequence[str]) -> dict[str, Picture]:
        """The pictures of these sha256s. OutputError for one that the run lacks."""
        with self._lock:
            if not self._ready:
                self._index()
            places = {sha: self._place(sha) for sha in dict.fromkeys(wanted)}
            ordered = sorted(places.items(), key=lambda item: item[1])
            return {sha: self._picture(*place) for sha, place in ordered}

    def _index(self) -> None:
        import pyarrow.parquet as pq

        ids, places = [no_digests()], [np.zeros((0, 3), np.int32)]
        for number, name in enumerate(self._files):
            with self._store.open(name) as file:
                table = pq.ParquetFile(file)
                for group in range(table.num_row_groups):
                    found = digests(table.read_row_group(group, columns=["picture_sha256"]).column(0))
                    ids.append(found)
                    rows = np.arange(len(found), dtype=np.int32)
                    places.append(np.stack([np.full_like(rows, number), np.full_like(rows, group), rows], axis=1))
        whole = np.concatenate(ids)
        order = np.argsort(whole)
        self._ids, self._places = whole[order], np.concatenate(places)[order]
        self._ready = True

    def _place(self, sha: str) -> tuple[int, int, int]:
        wanted = np.array([bytes.fromhex(sha[:32])], DIGEST)
        at = int(np.searchsorted(self._ids, wanted)[0])
        if at == len(self._ids) or self._ids[at] != wanted[0]:
            raise OutputError(f"picture {sha} is referred to by a transcript and stands in no pictures/ file")
        file, group, row = self._places[at].tolist()
        return file, group, row

    def _picture(self, file: int, group: int, row: int) -> Picture:
        found = self._group(file, group).slice(row, 1).to_pylist()[0]
        return Picture(
            found["image"]["bytes"], found["picture_sha256"], found["width"], found["height"], found["format"]
        )

    def _group(self, file: int, group: int) -> Any:
        import pyarrow.parquet as pq

        key = (file, group)
        if key not in self._groups:
            with self._store.open(self._files[file]) as opened:
                self._groups[key] = pq.ParquetFile(opened).read_row_group(group)
            while len(self._groups) > KEPT_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]
