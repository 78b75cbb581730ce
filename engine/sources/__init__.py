"""Sources: files on disk or a Hub data set become rows by reference. One file a source.

What the pipeline uses of them is here, and only here: plan the rows (`select`), walk them (`iter_rows`), read one.

source = open_source(SourceConfig("vlguard", path="data"))        # driver: UsageError where nothing can be read
plan = select(source.windows(), where={"safe": "false"}, limit=100)
for row in iter_rows(window, selection):                           # remote task, one (window, selection) each
    query = load(row)                                              # SourceError: this row becomes an error row

Adding one: a file with `open_source(config) -> Source`, its line in SOURCES, its card in `engine.catalogue`; or from
another distribution (docs/extending.md).
"""

from __future__ import annotations

from engine import registry
from engine.pictures import PictureCaps
from engine.sources.base import load
from engine.sources.records import Source, SourceConfig, SourceRow, Window, bad_row_id
from engine.sources.refs import PictureRef
from engine.sources.select import Plan, Selection, iter_rows, select

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
    "mm_safetybench": "engine.sources.mm_safetybench:open_source",
    "vlsafe": "engine.sources.vlsafe:open_source",
    "figstep": "engine.sources.figstep:open_source",
    "mossbench": "engine.sources.mossbench:open_source",
    "mme": "engine.sources.mme:open_source",
    "mmbench": "engine.sources.mmbench:open_source",
    "mmvet": "engine.sources.mmvet:open_source",
    "mllmguard": "engine.sources.mllmguard:open_source",
}
"""Name -> module:function, imported when it is asked for."""


def open_source(config: SourceConfig) -> Source:
    """Open the named source. Raises UsageError for an unknown name, or where its data cannot be read at all."""
    source: Source = registry.find("sources", config.name, SOURCES).make(config)
    return source
