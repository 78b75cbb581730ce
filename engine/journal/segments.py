"""The journal that each actor writes: its own files, append only, and nobody else's.

Local: a row is one `write` of a complete frame before `append` returns, so it survives kill -9 of the process; fsync
follows within `fsync_s`, so it survives a power cut too. Object store: rows are held back and put as one immutable
segment at most every `segment_s`, so a kill loses at most that. A picture is always written before the first row that
refers to it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from engine.errors import OutputError, RowError
from engine.journal import frames
from engine.journal.convert import to_json, transcript_to_json
from engine.journal.frames import Damage, Frame
from engine.journal.local import fsync_dir, write_failed
from engine.journal.store import Store
from engine.types import Picture, Transcript

FOLDER = "journal"
ROWS = ".rows"
PICTURES = ".pictures"
SEGMENT_BYTES = 32 << 20
KIND_OF_STATUS = {"ok": frames.OK, "unresolved": frames.UNRESOLVED, "error": frames.ERROR}
_WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_ID = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


def segments(store: Store, suffix: str = ROWS) -> list[str]:
    """The journal's segments with this suffix, sorted by name."""
    return [path for path in store.list(FOLDER) if path.endswith(suffix)]


def iter_frames(store: Store, segment: str, damage: Damage | None = None) -> Iterator[Frame]:
    """Every whole record of one segment; damaged stretches are passed over, counted and warned of."""
    found = damage if damage is not None else Damage()
    before = found.size
    with store.open(segment) as file:
        yield from frames.scan(file, found)
    if found.size > before:
        log.warning("%s: %d bytes are damaged or were cut off; passed over", segment, found.size - before)


class JournalWriter:
    """The writer of one actor incarnation; `worker_id` must be new each time. Safe to share between threads.

    A failed write raises OutputError here and on every later call: a run must not go on without its journal.
    """

    def __init__(
        self,
        url: str,
        worker_id: str,
        *,
        fsync_s: float = 5.0,
        segment_s: float = 30.0,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        if not _WORKER.fullmatch(worker_id):
            raise ValueError(f"worker_id {worker_id!r}: letters, digits, '.', '_' and '-' only")
        store = Store(url)
        base = f"{FOLDER}/{worker_id}"
        self._sink: _LocalSink | _ObjectSink = (
            _LocalSink(store, base) if store.is_local else _ObjectSink(store, base, segment_bytes)
        )
        self._pictures: set[bytes] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._failed: OutputError | None = None
        self._told = False
        self._wake = threading.Event()
        # A tick of two thirds of the promise leaves the last third for the write itself.
        self._tick = (fsync_s if store.is_local else segment_s) * 2 / 3
        self._thread = threading.Thread(target=self._keep_flushing, name=f"journal-{worker_id}", daemon=True)
        self._thread.start()

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, transcript: Transcript) -> None:
        """Journal one finished row. RowError where the row itself cannot be kept (a wrong type, NaN, no key)."""
        kind = _kind(transcript)
        self._row(
            kind,
            transcript.query_id,
            transcript.source_key,
            transcript.source_index,
            transcript_to_json(transcript),
        )

    def append_duplicate(self, query_id: str, source_key: str, source_index: int) -> None:
        """Journal that this source row is the same question as `query_id`, which has its own transcript."""
        note = {"query_id": query_id, "source_key": source_key, "source_index": source_index}
        self._row(frames.DUPLICATE, query_id, source_key, source_index, to_json(note, query_id))

    def add_picture(self, picture: Picture) -> None:
        """Journal the picture once; call it before the row that refers to it."""
        digest = bytes.fromhex(picture.sha256)[:16]
        with self._lock:
            self._check()
            if digest in self._pictures:
                return
            facts = {
                "sha256": picture.sha256,
                "width": picture.width,
                "height": picture.height,
                "format": picture.format,
            }
            body = to_json(facts, picture.sha256) + b"\n" + picture.data
            self._write(PICTURES, _frame(frames.PICTURE, digest, frames.NO_KEY, 0, body, picture.sha256))
            self._pictures.add(digest)

    def flush(self) -> None:
        """Return when everything appended so far is durable (fsynced, or put)."""
        with self._lock:
            self._check()
        self._flush()
        with self._lock:
            self._check()

    def close(self) -> None:
        """Flush and let go of the files; raises a failure that no call has raised yet. Closing twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._wake.set()
        self._thread.join()
        try:
            self._flush()
        finally:
            self._sink.close()
        if self._failed and not self._told:
            raise self._failed

    def _row(self, kind: str, query_id: str, source_key: str, source_index: int, body: bytes) -> None:
        if not _ID.fullmatch(query_id):
            raise RowError(f"query_id {query_id!r}: 64 hex digits are expected")
        if not source_key or source_index < 0:
            raise RowError(f"{query_id}: source_key and source_index say where the row stands; both are needed")
        digest = bytes.fromhex(query_id[:32])
        frame = _frame(kind, digest, frames.key_digest(source_key), source_index, body, query_id)
        with self._lock:
            self._check()
            self._write(ROWS, frame)

    def _write(self, suffix: str, frame: bytes) -> None:
        try:
            self._sink.write(suffix, frame)
        except OutputError as error:
            self._failed, self._told = error, True
            raise

    def _check(self) -> None:
        if self._failed:
            self._told = True
            raise self._failed
        if self._closed:
            raise OutputError("the journal writer is closed")

    def _flush(self) -> None:
        try:
            self._sink.flush()
        except OutputError as error:
            self._failed = error

    def _keep_flushing(self) -> None:
        while not self._wake.wait(self._tick):
            self._flush()


def _kind(transcript: Transcript) -> str:
    if transcript.status == "error" and transcript.error_stage == "source":
        return frames.SOURCE_ERROR
    kind = KIND_OF_STATUS.get(transcript.status)
    if kind is None:
        raise RowError(f"{transcript.query_id}: status: found {transcript.status!r}, expected {list(KIND_OF_STATUS)}")
    return kind


def _frame(kind: str, digest: bytes, key: bytes, source_index: int, body: bytes, where: str) -> bytes:
    try:
        return frames.encode(kind, time.time_ns(), digest, key, source_index, body)
    except ValueError as error:
        raise RowError(f"{where}: {error}") from error


class _LocalSink:
    """Two append-only files. They are made on first use, so that an idle actor leaves none."""

    def __init__(self, store: Store, base: str) -> None:
        self._paths = {suffix: store.path(base + suffix) for suffix in (PICTURES, ROWS)}
        self._open: dict[str, tuple[int, int]] = {}
        self._dirty: set[str] = set()
        self._syncing = threading.Lock()

    def write(self, suffix: str, frame: bytes) -> None:
        path = self._paths[suffix]
        try:
            descriptor, size = self._open.get(suffix) or self._create(suffix)
            written = os.write(descriptor, frame)
            if written != len(frame):
                # A full disk takes a part. Cut it off: the file ends in whole records.
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise write_failed(path, error) from error
        self._open[suffix] = descriptor, size + written
        self._dirty.add(suffix)

    def _create(self, suffix: str) -> tuple[int, int]:
        path = self._paths[suffix]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # O_EXCL: two writers on one file would cut into each other's records.
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        self._open[suffix] = os.open(path, flags, 0o666), 0
        fsync_dir(os.path.dirname(path))
        return self._open[suffix]

    def flush(self) -> None:
        """Pictures first: after a power cut no row may refer to a picture that is not there."""
        with self._syncing:
            for suffix in (PICTURES, ROWS):
                if suffix not in self._dirty:
                    continue
                self._dirty.discard(suffix)
                try:
                    os.fsync(self._open[suffix][0])
                except OSError as error:
                    raise write_failed(self._paths[suffix], error) from error

    def close(self) -> None:
        for descriptor, _ in self._open.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._open.clear()


class _ObjectSink:
    """Frames held back until the next put. At most two times `segment_bytes` are held: then `write` puts itself."""

    def __init__(self, store: Store, base: str, segment_bytes: int) -> None:
        self._store = store
        self._base = base
        self._limit = segment_bytes
        self._held: dict[str, list[bytes]] = {PICTURES: [], ROWS: []}
        self._size = 0
        self._number = 0
        self._lock = threading.Lock()
        self._putting = threading.Lock()

    def write(self, suffix: str, frame: bytes) -> None:
        with self._lock:
            self._held[suffix].append(frame)
            self._size += len(frame)
            full = self._size >= self._limit
        if full:
            self.flush()

    def flush(self) -> None:
        """Put what is held. Puts follow each other, so that a picture is never behind its row."""
        with self._putting:
            with self._lock:
                held, self._held = self._held, {PICTURES: [], ROWS: []}
                self._size = 0
            for suffix in (PICTURES, ROWS):
                if held[suffix]:
                    self._store.write(f"{self._base}-{self._number:06d}{suffix}", b"".join(held[suffix]))
            self._number += 1

    def close(self) -> None:
        """Nothing is open between puts."""
