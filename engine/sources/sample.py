"""The sample set that ships with the engine: VLGuard's own layout, so the same reader (`vlguard.py`)."""

from __future__ import annotations

from engine.errors import UsageError
from engine.sources.records import Source, SourceConfig
from engine.sources.vlguard import open_folder
from engine.tiny import SAMPLE_DIR


def open_source(config: SourceConfig) -> Source:
    """Split `train` by default. Raises UsageError where `--path`, `--revision` or a column mapping is given."""
    if config.path or config.revision or config.columns:
        found = "--path, --revision or columns"
        raise UsageError(f"--queries sample: found {found}, expected none (the sample is fixed); try --queries vlguard")
    return open_folder(SAMPLE_DIR, split=config.split, name="sample")
