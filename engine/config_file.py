"""Reading a configuration: flag > file > default, checked against `schemas/config.json` before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import schemas
from engine.errors import UsageError


def read_section(path: str, section: str) -> dict[str, Any]:
    """One section of a YAML file. UsageError: unreadable, not YAML, an unknown section or key, a wrong value."""
    return dict(read_document(path).get(section) or {})


def read_document(path: str) -> dict[str, Any]:
    """All sections of a YAML file, checked. UsageError as `read_section`."""
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text("utf-8")) or {}
    except OSError as error:
        raise UsageError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not YAML: {error}") from error
    check(document, where=f"--config {path}")
    return dict(document)


def check(document: object, *, where: str) -> None:
    """UsageError naming every bad field, unless `document` matches the config schema."""
    try:
        schemas.check("config", document, where=where)
    except schemas.SchemaError as error:
        raise UsageError(str(error)) from error


def merge(section: str, flags: Mapping[str, Any], file: str | None) -> dict[str, Any]:
    """File values overridden by the flags that were given, checked as one section."""
    values = read_section(file, section) if file else {}
    values.update(flags)
    check({section: values}, where="flags" if file is None else f"--config {file} and flags")
    return values
