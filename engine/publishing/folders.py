"""Folders on this machine: written whole beside their place, and never over what somebody else put there."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import OutputError, UsageError
from engine.journal.local import FULL, write_failed
from engine.publishing import card, models
from engine.publishing.data import SEAL

PICTURE = "ecso-report.png"
UNFINISHED = ".unfinished-"


def refuse_foreign(folder: Path, untouched: Sequence[str]) -> None:
    """UsageError unless the folder is new, empty, or holds only what publish or hydrate wrote there before.

    `untouched`: folders and files that are only read; the folder may not be, hold or lie in one of them.
    """
    for source in untouched:
        if "://" not in source and _overlap(folder, Path(source)):
            raise UsageError(f"--out {folder}: is (or holds, or lies in) {source}, which is only read")
    if not folder.exists():
        return
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    foreign = sorted(found - _written(folder))
    if not folder.is_dir() or foreign:
        raise UsageError(f"--out {folder}: holds other files ({', '.join(foreign[:5])}); choose a new folder")


def _written(folder: Path) -> set[str]:
    """What a former call left there by its own account; nothing where there is no such account."""
    seal, readme = folder / SEAL, folder / "README.md"
    if seal.is_file():
        with suppress(ValueError, KeyError, TypeError):
            files = {str(file["path"]) for file in json.loads(seal.read_bytes())["files"]}
            return {SEAL, PICTURE, readme.name} | files
    if readme.is_file() and card.BEGIN in readme.read_text("utf-8", "replace"):
        names = {path.name for path in folder.iterdir()}
        return {name for name in names if models.goes_up(name)} | {readme.name, models.RECORD, models.SCORES}
    return set()


def _overlap(one: Path, other: Path) -> bool:
    one, other = one.expanduser().resolve(), other.expanduser().resolve()
    return one == other or one in other.parents or other in one.parents


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder beside the target, moved into its place at the end; on a failure the target stays as it was."""
    folder = target.with_name(f"{target.name}{UNFINISHED}{secrets.token_hex(4)}")
    try:
        folder.mkdir(parents=True)
        yield folder
        former = target.with_name(f"{folder.name}-former")
        if target.exists():
            target.rename(former)
        folder.rename(target)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        if error.errno in FULL:
            raise write_failed(str(target), error) from error
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
