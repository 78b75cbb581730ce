"""The published form of a table: with its pictures inside, or with their names and checksums in place of them.

The two forms hold the same rows in the same order, and the seal keeps how the one with pictures is cut: joining them
again gives the same files, byte for byte (with the same version of pyarrow, whose name Parquet files carry).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import schemas
from engine.errors import OutputError
from engine.pictures import PictureCaps, inspect

if TYPE_CHECKING:
    import pyarrow as pa

IMAGES, PICTURES = "images", "pictures"
"""The column with the bytes, and the one that stands in its place."""

FACTS = {"id": "string", "sha256": "string", "size": "int64", "width": "int32", "height": "int32", "format": "string"}
"""What a row says of each picture that it leaves out. `id` is the name that the engine gives it; `size` is in bytes."""

ANY_SIZE = PictureCaps(max_bytes=1 << 40, max_pixels=1 << 40, max_side=1 << 30, max_aspect=1e9)
"""These pictures passed generate's caps already, whatever they were."""


class Shown(NamedTuple):
    """One picture of a row."""

    sha256: str
    data: bytes
    path: str | None


@dataclass(frozen=True, slots=True)
class Form:
    """A published table. `embedded`: the schema as curated; `published`: the one that is written."""

    table: str
    embedded: pa.Schema
    published: pa.Schema
    hydrate: bool


def form_of(table: str, *, hydrate: bool) -> Form:
    """The pinned table as it is published."""
    pinned = schemas.arrow_schema(table)
    return Form(table, pinned, without_bytes(pinned) if hydrate else pinned, hydrate)


def without_bytes(pinned: pa.Schema) -> pa.Schema:
    """The schema with `pictures` (facts) in the place of `images` (bytes), and the features that say so."""
    import pyarrow as pa

    kind = pa.list_(pa.struct([pa.field(name, pa.type_for_alias(alias)) for name, alias in FACTS.items()]))
    place = pinned.get_field_index(IMAGES)
    features = json.loads(pinned.metadata[b"huggingface"])["info"]["features"]
    facts = {name: {"dtype": alias, "_type": "Value"} for name, alias in FACTS.items()}
    named = {
        (PICTURES if name == IMAGES else name): ({"feature": facts, "_type": "List"} if name == IMAGES else feature)
        for name, feature in features.items()
    }
    metadata = {"huggingface": json.dumps({"info": {"features": named}})}
    return pinned.set(place, pa.field(PICTURES, kind)).with_metadata(metadata)


def pictures_of(batch: pa.Table) -> list[list[Shown]]:
    """The pictures of every row."""
    return [
        [Shown(hashlib.sha256(image["bytes"]).hexdigest(), image["bytes"], image["path"]) for image in row]
        for row in batch[IMAGES].to_pylist()
    ]


def leave_out(batch: pa.Table, shown: Sequence[Sequence[Shown]], schema: pa.Schema) -> pa.Table:
    """The batch with facts instead of bytes."""
    import pyarrow as pa

    facts = pa.array([[_facts(each) for each in row] for row in shown], schema.field(PICTURES).type)
    place = batch.schema.get_field_index(IMAGES)
    return batch.set_column(place, schema.field(PICTURES), facts).cast(schema)


def put_in(batch: pa.Table, give: Callable[[dict[str, Any]], bytes], schema: pa.Schema) -> pa.Table:
    """The batch with the bytes that `give` finds for each picture's facts. OutputError: they are not those bytes."""
    import pyarrow as pa

    rows = [[_image(facts, give) for facts in row] for row in batch[PICTURES].to_pylist()]
    place = batch.schema.get_field_index(PICTURES)
    return batch.set_column(place, schema.field(IMAGES), pa.array(rows, schema.field(IMAGES).type)).cast(schema)


def _facts(shown: Shown) -> dict[str, Any]:
    found = inspect(shown.data, shown.sha256, ANY_SIZE)
    return {
        "id": shown.path,
        "sha256": shown.sha256,
        "size": len(shown.data),
        "width": found.width,
        "height": found.height,
        "format": found.format,
    }


def _image(facts: dict[str, Any], give: Callable[[dict[str, Any]], bytes]) -> dict[str, Any]:
    data = give(facts)
    found = hashlib.sha256(data).hexdigest()
    if found != facts["sha256"]:
        raise OutputError(f"picture {facts['sha256']}: the file changed while it was read (sha256 is now {found})")
    return {"bytes": data, "path": facts["id"]}


def rebatched(tables: Iterator[pa.Table], sizes: Sequence[int]) -> Iterator[pa.Table]:
    """The same rows in batches of these sizes. OutputError where they do not add up."""
    import pyarrow as pa

    held: list[pa.Table] = []
    rows = 0
    for size in sizes:
        while rows < size:
            table = next(tables, None)
            if table is None:
                raise OutputError(f"the shards end {size - rows} rows early: a shard is missing or was changed")
            held.append(table)
            rows += table.num_rows
        whole = pa.concat_tables(held)
        yield whole.slice(0, size).combine_chunks()
        held, rows = [whole.slice(size)], rows - size
    if rows or any(table.num_rows for table in tables):
        raise OutputError("the shards hold more rows than publication.json says: a file was changed")
