"""Distributions made for a test: what `pip install` leaves of one, in a folder that is put on the path."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

BROUGHT = {
    "strategies": {"loud": "brought:loud"},
    "judges": {"capitals": "brought:capitals"},
    "sources": {"numbers": "brought:numbers"},
    "filters": {"no_two": "brought:no_two"},
    "benchmarks": {"counting": "brought:counting"},
    "backends": {"echo": "brought:Echo"},
}


def install(site: Path, name: str, parts: Mapping[str, Mapping[str, str]], **modules: str) -> Path:
    """A distribution `name` 1.2 with these entry points and modules (name -> source)."""
    info = site / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.2\nSummary: loud things\n")
    groups = [
        "\n".join([f"[ecso_engine.{kind}]", *(f"{part} = {target}" for part, target in named.items())])
        for kind, named in parts.items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    for module, source in modules.items():
        (site / f"{module}.py").write_text(source)
    return site


def brought(site: Path) -> Path:
    """The distribution with one part of each kind."""
    install(site, "loudness", BROUGHT)
    shutil.copy(Path(__file__).with_name("brought.py"), site)
    return site
