"""Duplicates: rows whose pictures and text both agree with a row that is kept. See docs/decisions/0007-dedup.md."""

from engine.curation.dedup.options import DedupOptions, Duplicate

__all__ = ["DedupOptions", "Duplicate"]
