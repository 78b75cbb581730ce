"""The bytes of one journalled record.

    \\x1e crc32 length kind time id key index body \\n

The head is text of fixed width, the body of a row is one line of JSON: `less`, `grep` and `cut` work on a segment. The
head repeats what the index needs, so that a resume reads heads and never parses a body. `\\x1e` (ASCII's record
separator) never stands raw in JSON, so a reader finds the next record after any damage; in a picture's bytes it may
stand, and the checksum then refuses the false start. The checksum covers everything after itself.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

MARK = b"\x1e"
OK, UNRESOLVED, ERROR, SOURCE_ERROR, DUPLICATE, PICTURE = "o", "u", "e", "s", "d", "p"
KINDS = OK + UNRESOLVED + ERROR + SOURCE_ERROR + DUPLICATE + PICTURE
MAX_BODY = 256 << 20
"""Bytes of one body. A reader that trusted a damaged length without a limit could ask for 4 GiB."""
NO_KEY = b"\0" * 16

_HEAD = re.compile(
    rb"\x1e([0-9a-f]{8}) ([0-9a-f]{8}) ([" + KINDS.encode() + rb"]) "
    rb"([0-9a-f]{16}) ([0-9a-f]{32}) ([0-9a-f]{32}) ([0-9a-f]{16}) "
)
HEAD_SIZE = 1 + 8 + 1 + 8 + 1 + 1 + 1 + 16 + 1 + 32 + 1 + 32 + 1 + 16 + 1
_AFTER_CRC = 10
"""Bytes before the part that the checksum covers: mark, eight digits, a space."""


class Frame(NamedTuple):
    """One record that was read whole. `digest` = first 16 bytes of the query id (of a picture: of its sha256)."""

    kind: str
    time_ns: int
    digest: bytes
    key: bytes
    source_index: int
    offset: int
    length: int
    """Bytes of the whole frame."""
    body: bytes


@dataclass(slots=True)
class Damage:
    """What a reader had to pass over: torn tails of killed writers, and bytes that rotted."""

    places: int = 0
    size: int = 0


def key_digest(source_key: str) -> bytes:
    """The 16 bytes that stand for a source row."""
    return hashlib.sha256(source_key.encode("utf-8", "surrogatepass")).digest()[:16]


def encode(kind: str, time_ns: int, digest: bytes, key: bytes, source_index: int, body: bytes) -> bytes:
    """The frame. ValueError for a body over MAX_BODY."""
    if len(body) > MAX_BODY:
        raise ValueError(f"{len(body)} bytes in one record; at most {MAX_BODY} are kept")
    rest = b"%08x %c %016x %b %b %016x %b\n" % (
        len(body),
        kind.encode(),
        time_ns,
        digest.hex().encode(),
        key.hex().encode(),
        source_index,
        body,
    )
    return b"%b%08x %b" % (MARK, zlib.crc32(rest), rest)


def decode(frame: bytes, offset: int = 0) -> Frame | None:
    """The record of exactly these bytes, or None where they are not one whole record."""
    head = _HEAD.match(frame)
    if head is None or len(frame) != HEAD_SIZE + int(head[2], 16) + 1:
        return None
    if zlib.crc32(memoryview(frame)[_AFTER_CRC:]) != int(head[1], 16) or not frame.endswith(b"\n"):
        return None
    return Frame(
        head[3].decode(),
        int(head[4], 16),
        bytes.fromhex(head[5].decode()),
        bytes.fromhex(head[6].decode()),
        int(head[7], 16),
        offset,
        len(frame),
        frame[HEAD_SIZE:-1],
    )


def scan(file: BinaryIO, damage: Damage | None = None) -> Iterator[Frame]:
    """Every whole record of a segment, in order. Damaged stretches are passed over and counted."""
    damage = damage if damage is not None else Damage()
    offset = 0
    while True:
        frame = _read_frame(file, offset)
        if frame is not None:
            yield frame
            offset += frame.length
            continue
        following = _next_mark(file, offset)
        if following is None:
            lost = file.seek(0, 2) - offset
            damage.places += lost > 0
            damage.size += lost
            return
        if following > offset:
            damage.places += 1
            damage.size += following - offset
        offset = following


def _read_frame(file: BinaryIO, offset: int) -> Frame | None:
    """The whole record at `offset`; leaves the file at its end, so that the usual case never seeks."""
    head = file.read(HEAD_SIZE)
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    length = int(match[2], 16)
    return decode(head + file.read(length + 1), offset) if length <= MAX_BODY else None


def _next_mark(file: BinaryIO, offset: int) -> int | None:
    """Where the next record may start after a failed read at `offset`, with the file placed there."""
    at = offset + 1
    while True:
        file.seek(at)
        chunk = file.read(1 << 20)
        if not chunk:
            return None
        found = chunk.find(MARK)
        if found >= 0:
            file.seek(at + found)
            return at + found
        at += len(chunk)
