"""The one place where a Transcript becomes a dict, JSON and Arrow, and comes back.

The field lists come from the dataclasses, so a new field needs no change here; a test holds dataclass, JSON Schema and
Arrow together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import isfinite
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Any

import orjson

from engine.errors import RowError
from engine.types import Picture, Step, Transcript
from schemas import SchemaError, arrow_schema, check_row, load

if TYPE_CHECKING:
    import pyarrow as pa

PICTURE_SUFFIX = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}
INT64 = range(-(2**63), 2**63)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, allow_nan=False).encode
"""For the rare text that is no UTF-8, which orjson refuses."""


class _Shape:
    """The fields of one dataclass, and the tuples of value types already seen to be right.

    A row is checked before it is journalled, because a wrong type found at sealing would cost the whole run. Rows of
    a run share a handful of type tuples, so that the check is one set lookup.
    """

    def __init__(self, cls: type, properties: Mapping[str, Any]) -> None:
        self.names = tuple(item.name for item in fields(cls))
        self.values = attrgetter(*self.names)
        self._allowed = [_allowed(properties[name]) for name in self.names]
        self._floats = [index for index, kinds in enumerate(self._allowed) if float in kinds]
        self._good: set[tuple[type, ...]] = set()

    def row(self, value: object, where: str) -> dict[str, Any]:
        """Name -> value. RowError names the field where a type is wrong."""
        values = self.values(value)
        kinds = tuple(map(type, values))
        if kinds not in self._good:
            self._check(values, kinds, where)
            self._good.add(kinds)
        for index in self._floats:
            number = values[index]
            if type(number) is float and not isfinite(number):
                raise RowError(f"{where}: {self.names[index]}: found {number}, expected a finite number")
        return dict(zip(self.names, values, strict=True))

    def _check(self, values: tuple[object, ...], kinds: tuple[type, ...], where: str) -> None:
        for name, value, kind, allowed in zip(self.names, values, kinds, self._allowed, strict=True):
            if kind not in allowed:
                expected = " or ".join(sorted(item.__name__ for item in allowed))
                raise RowError(f"{where}: {name}: found {kind.__name__} {str(value)[:80]!r}, expected {expected}")


def _allowed(sub: Mapping[str, Any]) -> frozenset[type]:
    python = {
        "string": (str,),
        "integer": (int,),
        "number": (float, int),
        "boolean": (bool,),
        "array": (tuple, list),
        "null": (NoneType,),
    }
    kinds = sub["type"] if isinstance(sub["type"], list) else [sub["type"]]
    return frozenset(kind for name in kinds for kind in python[name])


_TRANSCRIPT = _Shape(Transcript, load("transcript")["properties"])
_STEP = _Shape(Step, load("transcript")["$defs"]["step"]["properties"])


def transcript_to_dict(transcript: Transcript) -> dict[str, Any]:
    """The row as plain values, in the schema's order. RowError names a field of a wrong type."""
    row = _TRANSCRIPT.row(transcript, transcript.query_id)
    if not all(type(digest) is str for digest in transcript.picture_sha256):
        raise RowError(f"{transcript.query_id}: picture_sha256: found {transcript.picture_sha256!r}, expected strings")
    row["steps"] = [step_to_dict(step, transcript.query_id) for step in transcript.steps]
    return row


def step_to_dict(step: Step, where: str) -> dict[str, Any]:
    """One step as plain values."""
    row = _STEP.row(step, where)
    if step.seed is not None and step.seed not in INT64:
        raise RowError(f"{where}: steps.seed: found {step.seed}, expected a 64-bit signed integer")
    return row


def transcript_to_json(transcript: Transcript) -> bytes:
    """One line of UTF-8 JSON. RowError where the row cannot be kept: a wrong type, NaN or infinity.

    A lone surrogate (a query that was no UTF-8) becomes U+FFFD here: Parquet has no such string, and sealing must
    never fail on a row that was accepted.
    """
    return to_json(transcript_to_dict(transcript), transcript.query_id)


def to_json(document: Mapping[str, Any], where: str) -> bytes:
    """Compact UTF-8 JSON in one line."""
    try:
        return orjson.dumps(document)
    except TypeError:
        pass  # a lone surrogate, or what JSON does not have: told apart below
    try:
        text = _encode(document)
    except (ValueError, TypeError) as error:
        raise RowError(f"{where}: {error}") from error
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode("utf-8")


def check_transcript(transcript: Transcript) -> None:
    """Validate against schemas/transcript.json, as it will be journalled. RowError where it fails."""
    try:
        check_row("transcript", json.loads(transcript_to_json(transcript)), where=transcript.query_id)
    except SchemaError as error:
        raise RowError(str(error)) from error


def transcript_from_dict(row: Mapping[str, Any]) -> Transcript:
    """The Transcript of a sealed or journalled row. TypeError for unknown or missing fields."""
    steps = tuple(Step(**step) for step in row["steps"])
    lists = {name: tuple(row[name]) for name in ("duplicate_keys", "picture_sha256")}
    return Transcript(**{**row, **lists, "steps": steps})


def transcripts_table(lines: Sequence[bytes]) -> pa.Table:
    """Journalled JSON lines as an Arrow table of the pinned schema.

    Arrow's own JSON reader is ten times as fast as going through Python dicts; where it refuses a line, the slow way
    finds out which row and field it was.
    """
    import pyarrow as pa
    import pyarrow.json as pa_json

    from engine.parquet import rows_to_table

    schema = arrow_schema("transcript")
    if not lines:
        return schema.empty_table()
    data = b"\n".join(lines)
    try:
        table = pa_json.read_json(
            pa.BufferReader(data),
            read_options=pa_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except pa.ArrowException:
        return rows_to_table([json.loads(line) for line in lines], "transcript")
    return table.select(schema.names).cast(schema)


def picture_row(picture: Picture) -> dict[str, Any]:
    """One row of pictures/*.parquet. The path has the format's suffix, so that an export can name the file by it."""
    suffix = PICTURE_SUFFIX.get(picture.format.upper(), picture.format.lower() or "bin")
    return {
        "picture_sha256": picture.sha256,
        "image": {"bytes": picture.data, "path": f"{picture.sha256}.{suffix}"},
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
    }
