"""What the benchmark sets share: some thousand rows at most, listed by small index files that the driver reads whole.

Rows are held inline in their windows: they are text and references, some hundred bytes each; no picture is read here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.fields import Place, build_row
from engine.sources.records import Source, SourceConfig, SourceRow, Window, bad_row, extra_json, is_clean, quoted
from engine.sources.refs import FileRef, PictureRef, printable

Choose = Callable[[list[str]], list[str]]
"""Names of all files of a Hub set -> those to fetch, in order."""

WINDOW_ROWS = 256
SNIFFED = 20
"""Records looked at before anything starts: if none of them has the columns, the file is of another kind."""


@dataclass(frozen=True, slots=True)
class ListedWindow:
    """Some rows, as they are."""

    listed: tuple[SourceRow, ...]

    @property
    def count(self) -> int:
        return len(self.listed)

    def rows(self) -> Iterator[SourceRow]:
        return iter(self.listed)


@dataclass(frozen=True, slots=True)
class ListedSource:
    """An opened set."""

    name: str
    path: str
    split: str
    listed: tuple[SourceRow, ...]
    index: str
    """What the rows were read from, as the manifest tells it."""
    index_sha256: str
    revision: str | None = None

    def identity(self) -> dict[str, str | None]:
        path = printable(self.path)
        index = {"index": self.index, "index_sha256": self.index_sha256, "revision": self.revision}
        return {"source": self.name, "path": path, "split": self.split, **index}

    def windows(self) -> list[Window]:
        starts = range(0, len(self.listed), WINDOW_ROWS)
        return [ListedWindow(self.listed[start : start + WINDOW_ROWS]) for start in starts]


@dataclass(slots=True)
class Listing:
    """Collects the rows of one set, and the digest of the files that they came from."""

    name: str
    split: str
    rows: list[SourceRow] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def add(
        self,
        key: str,
        text: object,
        pictures: Sequence[PictureRef] = (),
        *,
        category: object = None,
        subcategory: object = None,
        label_safe: bool | None = None,
        reference: object = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """One row, checked at the border: what is wrong with it becomes its problem."""
        labels = {"category": category, "subcategory": subcategory, "label_safe": label_safe, "reference": reference}
        names = ["picture"] * len(pictures)
        found = {"text": text, **labels}
        row = build_row(found, self._place(key), names, lambda: tuple(pictures), extra or {})
        self.rows.append(row if row.problem is None else _labelled(row, category, subcategory, label_safe, extra))

    def refuse(
        self,
        key: str,
        problem: str,
        *,
        category: object = None,
        subcategory: object = None,
        label_safe: bool | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """One row that could not be read: kept as an error, with what is known of it, so that its group counts it."""
        place = self._place(key)
        row = bad_row(place.index, key, f"{key}: {problem}", "SchemaError", source=self.name, split=self.split)
        self.rows.append(_labelled(row, category, subcategory, label_safe, extra))

    def read_json(self, path: Path) -> Any:
        """One index file, whole. Raises UsageError where it is no JSON (a truncated download, most often)."""
        try:
            data = path.read_bytes()
            value = json.loads(data)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror}); check path and permissions") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}: found no JSON ({error}), expected an index of rows; get it again") from error
        self.digests.append(hashlib.sha256(data).hexdigest())
        return value

    def close(self, path: str | Path, index: str, revision: str | None = None) -> Source:
        """The source. Raises UsageError where there is no row, or where not one of the pictures is there."""
        if not self.rows:
            raise UsageError(f"--path {path}: {index} lists no row; get the set again")
        self._check_pictures(str(path))
        digest = self.digests[0]
        if len(self.digests) > 1:
            digest = hashlib.sha256("\n".join(self.digests).encode()).hexdigest()
        return ListedSource(self.name, str(path), self.split, tuple(self.rows), printable(index), digest, revision)

    def _place(self, key: str) -> Place:
        return Place(len(self.rows), key, key, self.name, self.split)

    def _check_pictures(self, path: str) -> None:
        """One picture missing is an error of its row; all of them missing is a wrong folder, said before any work."""
        wanted = [ref for row in self.rows for ref in row.pictures]
        if not wanted or any(not isinstance(ref, FileRef) or _is_there(ref) for ref in wanted):
            return
        first = wanted[0]
        mend = "unpack the pictures there, or give the folder that holds them"
        raise UsageError(f"--path {path}: none of the {len(wanted):,} pictures is there, such as {first.name}; {mend}")


def _labelled(
    row: SourceRow, category: object, subcategory: object, label_safe: bool | None, extra: Mapping[str, Any] | None
) -> SourceRow:
    words = [word if isinstance(word, str) and is_clean(word) else None for word in (category, subcategory)]
    return replace(row, category=words[0], subcategory=words[1], label_safe=label_safe, extra=extra_json(extra or {}))


def _is_there(ref: FileRef) -> bool:
    return "\0" not in ref.path and (Path(ref.root) / ref.path).is_file()


def records_of(value: Any, where: str, columns: Sequence[str]) -> list[tuple[str, Any]]:
    """(key, record) of an index that is a JSON list, or an object from ids to records; never by counting ids up.

    Raises UsageError for anything else, and where none of the first records has all `columns`.
    """
    pairs = [(str(key), record) for key, record in value.items()] if isinstance(value, dict) else None
    if isinstance(value, list):
        pairs = [(str(place), record) for place, record in enumerate(value)]
    if pairs is None:
        raise UsageError(f"{where}: found a JSON {type(value).__name__}, expected records by id, or a list of them")
    require(where, (record for _, record in pairs[:SNIFFED]), columns)
    return pairs


def require(where: str, records: Iterable[Any], columns: Sequence[str]) -> None:
    """UsageError where no record has all `columns`: it names what was found."""
    seen: dict[str, None] = {}
    for record in records:
        if isinstance(record, Mapping):
            if all(column in record for column in columns):
                return
            seen |= dict.fromkeys(map(str, record))
    found = ", ".join(map(quoted, list(seen)[:12])) or "no object"
    raise UsageError(f"{where}: found columns {found}; expected {', '.join(map(quoted, columns))}")


def no_columns(config: SourceConfig) -> None:
    """UsageError where a column mapping is given to a set whose columns are known."""
    if config.columns:
        raise UsageError(f"--queries {config.name}: found a column mapping, expected none; its columns are known")


def local_folder(config: SourceConfig, how_to: str) -> Path:
    """The folder of `--path`. Raises UsageError that says how to get the set where there is none."""
    if config.path is None:
        raise UsageError(f"--queries {config.name}: no --path given.\n{how_to}")
    folder = Path(config.path).expanduser()
    if not folder.is_dir():
        raise UsageError(f"--path {config.path}: no such folder.\n{how_to}")
    return folder


def entries(folder: Path, limit: int = 8) -> str:
    """What stands in a folder, for an error message."""
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return printable(", ".join(names[:limit]) + more) or "nothing"


def checked_split(config: SourceConfig, splits: Sequence[str]) -> str:
    """The split asked for (default: the first). Raises UsageError for an unknown one."""
    split = config.split or splits[0]
    if split not in splits:
        raise UsageError(f"--queries {config.name} --split {split}: expected one of {', '.join(splits)}")
    return split


def fetch(config: SourceConfig, default: str, choose: Choose, how_to: str) -> hub.HubFiles:
    """The files that `choose` picks from the names of a Hub set, in order. Raises UsageError with `how_to`."""
    repository = config.path or default
    try:
        there = hub.list_files(repository, config)
        names = choose(there)
        if not names:
            raise UsageError(
                f"--path {repository}: none of its {len(there):,} files on the Hub is of this set\n{how_to}"
            )
        return hub.fetch(repository, names, config)
    except hub.HubError as error:
        raise UsageError(f"--queries {config.name}: {error}.\n{how_to}") from error
