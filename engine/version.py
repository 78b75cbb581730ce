"""The version of the distribution, and of the transcripts it writes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed

SCHEMA_VERSION = 1
"""Raised when a transcript's meaning changes: old and new rows never meet in one run."""


def version() -> str:
    """The installed version, or `0+source` in a bare checkout."""
    try:
        return _installed("ecso-engine")
    except PackageNotFoundError:
        return "0+source"
