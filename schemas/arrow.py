"""Arrow schemas derived from the JSON Schema files, in one place.

The default mapping is string -> string, integer -> int64, number -> float64, boolean -> bool, array -> list,
object -> struct; a type that admits "null" is nullable. The keyword `x-arrow` says otherwise: `int32`, `float32`,
`binary`, or `image` (Hugging Face's struct<bytes, path>). A table schema says `x-table: true`.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from schemas.validate import load

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


@cache
def arrow_schema(name: str) -> pa.Schema:
    """The pinned Arrow schema of the table `name`, with Hugging Face feature metadata.

    Raises ValueError for a schema that is not a table.
    """
    import pyarrow as pa

    document = load(name)
    if not document.get("x-table"):
        raise ValueError(f"schemas/{name}.json is no table (no x-table)")
    fields = [_field(key, sub, document) for key, sub in document["properties"].items()]
    features = {key: _feature(sub, document) for key, sub in document["properties"].items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema(fields, metadata=metadata)


def _resolve(sub: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    reference = sub.get("$ref")
    if reference is None:
        return sub
    found: dict[str, Any] = document["$defs"][reference.removeprefix("#/$defs/")]
    return found


def _kind(sub: dict[str, Any]) -> tuple[str, bool]:
    """(JSON type without null, nullable)."""
    kinds = sub["type"] if isinstance(sub["type"], list) else [sub["type"]]
    rest = [kind for kind in kinds if kind != "null"]
    if len(rest) != 1:
        raise ValueError(f"an Arrow column has one type, found {kinds}")
    return rest[0], "null" in kinds


def _field(key: str, sub: dict[str, Any], document: dict[str, Any]) -> pa.Field:
    import pyarrow as pa

    sub = _resolve(sub, document)
    return pa.field(key, _type(sub, document))


def _type(sub: dict[str, Any], document: dict[str, Any]) -> pa.DataType:
    import pyarrow as pa

    sub = _resolve(sub, document)
    special = sub.get("x-arrow")
    if special == "image":
        return pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    kind, _ = _kind(sub)
    if kind == "array":
        return pa.list_(_type(sub["items"], document))
    if kind == "object":
        return pa.struct([_field(key, inner, document) for key, inner in sub["properties"].items()])
    return pa.type_for_alias(special or PLAIN[kind])


def _feature(sub: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The same type in the words of `datasets.Features`."""
    sub = _resolve(sub, document)
    if sub.get("x-arrow") == "image":
        return {"_type": "Image"}
    kind, _ = _kind(sub)
    if kind == "array":
        return {"feature": _feature(sub["items"], document), "_type": "List"}
    if kind == "object":
        return {key: _feature(inner, document) for key, inner in sub["properties"].items()}
    return {"dtype": sub.get("x-arrow") or PLAIN[kind], "_type": "Value"}
