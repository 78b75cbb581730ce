"""Sources: files on disk or a Hub data set become rows by reference. One file a source.

Adding one: a file with `open_source(config) -> Source`, and its line in SOURCES.
"""

from __future__ import annotations

from importlib import import_module

from engine.errors import UsageError
from engine.sources.base import (
    PictureCaps,
    PictureRef,
    Plan,
    Selection,
    Source,
    SourceConfig,
    SourceRow,
    Window,
    bad_row_id,
    iter_rows,
    load,
    select,
)

__all__ = [
    "SOURCES",
    "PictureCaps",
    "PictureRef",
    "Plan",
    "Selection",
    "Source",
    "SourceConfig",
    "SourceRow",
    "Window",
    "bad_row_id",
    "iter_rows",
    "load",
    "open_source",
    "select",
]

SOURCES = {
    "sample": "engine.sources.sample:open_source",
    "vlguard": "engine.sources.vlguard:open_source",
    "parquet": "engine.sources.parquet:open_source",
    "folder": "engine.sources.folder:open_source",
}
"""Name -> module:function, imported when it is asked for."""


def open_source(config: SourceConfig) -> Source:
    """Open the named source. Raises UsageError for an unknown name, or where its data cannot be read at all."""
    target = SOURCES.get(config.name)
    if target is None:
        raise UsageError(f"--queries: found {config.name!r}, expected one of {', '.join(sorted(SOURCES))}")
    module, function = target.split(":")
    source: Source = getattr(import_module(module), function)(config)
    return source
