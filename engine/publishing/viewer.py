"""The limits of the Hub's data viewer, checked on every shard before it is pushed.

The viewer reads row group by row group and refuses one of more than about 286 MiB (`TooBigContentError`, seen in
betagouv/ComparIA#124); the page index lets it read single pages, and the features in the schema's metadata let it show
pictures. Sources: datasets 5.2.0, `config.py` and `arrow_writer.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from engine.errors import OutputError
from engine.parquet import MAX_ROW_GROUP_BYTES

VIEWER_LIMIT = 286 * 2**20
MAX_FILE_BYTES = 5 * 10**9
"""What one PUT to the Hub's storage may hold; the engine's shards stay under a tenth of it."""


def check(path: Path) -> list[str]:
    """Notes on a shard that the viewer shows with difficulty. OutputError for one that it cannot show."""
    import pyarrow.parquet as pq

    found = pq.ParquetFile(path)
    features = json.loads((found.schema_arrow.metadata or {}).get(b"huggingface", b"{}")).get("info", {})
    named = list(features.get("features", {}))
    if named != found.schema_arrow.names:
        raise OutputError(f"{path}: the features name {named}, the columns are {found.schema_arrow.names}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise OutputError(f"{path}: {path.stat().st_size:,} bytes; one file may have {MAX_FILE_BYTES:,}")
    notes = []
    for number in range(found.num_row_groups):
        group = found.metadata.row_group(number)
        if group.total_byte_size > VIEWER_LIMIT:
            raise OutputError(
                f"{path}: row group {number} has {group.total_byte_size:,} bytes, the Hub's viewer reads at most "
                f"{VIEWER_LIMIT:,}"
            )
        if group.total_byte_size > MAX_ROW_GROUP_BYTES:
            notes.append(f"{path.name}: row group {number} has {group.total_byte_size:,} bytes (one very large row)")
        if group.num_rows and not all(group.column(k).has_offset_index for k in range(group.num_columns)):
            raise OutputError(f"{path}: row group {number} has no page index")
    return notes
