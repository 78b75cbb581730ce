"""The leakage gate: is a row one of the rows that will judge the model?

`build(path)` reads a benchmark and keeps hashes of it, `Index.save` writes them to a file that can be shared, `load`
reads that, `Index.match` asks. The engine ships no benchmark's content.
"""

from __future__ import annotations

from pathlib import Path

from engine.curation.leakage.file import load
from engine.curation.leakage.index import KINDS, Index, Match, MatchKind
from engine.curation.leakage.reading import read_benchmark

__all__ = ["KINDS", "Index", "Match", "MatchKind", "build", "load"]


def build(
    path: str | Path,
    name: str | None = None,
    split: str | None = None,
    columns: str = "",
    lost: list[str] | None = None,
) -> Index:
    """Index a benchmark: a folder or a file, see `reading.py` for the layouts. `name` defaults to the path's own name.
    `lost` is filled with the places that could not be read, and so are not in the index.

    Raises UsageError where nothing is found in it.
    """
    source = Path(path)
    entries = read_benchmark(source, split, columns, lost=[] if lost is None else lost)
    return Index.of(name or source.stem, entries)
