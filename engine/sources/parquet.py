"""Parquet files with a picture column: Hugging Face's Image (struct<bytes, path>), a list of such, or plain binary.

Opens one file, a folder, a glob, or a data set of the Hub. A row group is a window. Planning reads footers and the text
columns only: whether a cell holds a picture is told by its `path` leaf or the null count, never by reading bytes.
Further columns of simple types (text, numbers, booleans, times) go to `extra`; nested and binary ones do not.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.fields import NAMES, Columns, Place, as_label, build_row, checked_columns, find_column, require_text
from engine.sources.records import Source, SourceConfig, SourceRow, Window, bad_row
from engine.sources.refs import ParquetRef, PictureRef, printable

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024
"""Rows of text columns read at a time."""


class _Damaged(Exception):
    """Bytes of a row group do not decode."""


class PictureColumn(NamedTuple):
    """The column of the pictures, and what tells whether a cell has one."""

    name: str
    is_list: bool
    leaf: str | None
    """The Parquet path of a small leaf of the struct (`image.path`), or None for binary, which has no other."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read one file: equal for all files of a set."""

    used: tuple[tuple[str, str], ...]
    """(our field, their column), without the picture."""
    extra: tuple[str, ...]
    picture: PictureColumn | None
    split: str


@dataclass(frozen=True, slots=True)
class RowGroupWindow:
    """One row group of one file."""

    file: str
    label: str
    row_group: int
    first_index: int
    count: int
    layout: Layout

    def rows(self) -> Iterator[SourceRow]:
        """A damaged page loses no row: from there on, each row of the group is a row with a problem."""
        given = 0
        try:
            pictures = self._picture_counts()
            for record in self._records():
                yield self._row(given, record, next(pictures))
                given += 1
        except _Damaged as error:
            for row in range(given, self.count):
                place = self._place(row)
                problem = f"{place.key}: the row group cannot be read ({error})"
                yield bad_row(place.index, place.key, problem, "ParquetError", source="parquet", split=place.split)

    def _place(self, row: int) -> Place:
        key = f"{self.label}:{self.row_group}:{row}"
        return Place(self.first_index + row, key, key, "parquet", self.layout.split)

    def _row(self, row: int, record: dict[str, Any], pictures: int) -> SourceRow:
        place = self._place(row)
        found = {field: _plain(field, record[column]) for field, column in self.layout.used}
        extra = {name: record[name] for name in self.layout.extra}
        return build_row(found, place, ["picture"] * pictures, lambda: self._refs(row, pictures), extra)

    def _refs(self, row: int, pictures: int) -> tuple[PictureRef, ...]:
        column = self.layout.picture
        if column is None:
            return ()
        return tuple(ParquetRef(self.file, self.row_group, row, column.name, item) for item in range(pictures))

    def _records(self) -> Iterator[dict[str, Any]]:
        columns = [column for _, column in self.layout.used] + list(self.layout.extra)
        for batch in self._batches(columns, BATCH):
            yield from batch.to_pylist()

    def _picture_counts(self) -> Iterator[int]:
        """Pictures of each row, in order."""
        column = self.layout.picture
        if column is None:
            return repeat(0)
        if column.leaf is None and not column.is_list and self._has_no_nulls(column.name):
            return repeat(1)
        return self._counted(column)

    def _counted(self, column: PictureColumn) -> Iterator[int]:
        """From the small leaf; only binary columns with nulls are read themselves, a few rows at a time."""
        import pyarrow.compute as pc

        for batch in self._batches([column.leaf or column.name], BATCH if column.leaf else 16):
            cells = batch.column(0)
            counts = pc.list_value_length(cells) if column.is_list else pc.cast(pc.is_valid(cells), "int32")
            yield from (count or 0 for count in counts.to_pylist())

    def _has_no_nulls(self, name: str) -> bool:
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(self.file)
        group = metadata.row_group(self.row_group)
        columns = [group.column(i) for i in range(group.num_columns)]
        chunk = next(column for column in columns if column.path_in_schema == name)
        return bool(chunk.is_stats_set and chunk.statistics.has_null_count and chunk.statistics.null_count == 0)

    def _batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """Raises UsageError where the file is not to be had on this machine, _Damaged where its bytes are bad."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.file) as parquet:
                yield from parquet.iter_batches(size, row_groups=[self.row_group], columns=columns)
        except (FileNotFoundError, PermissionError) as error:
            raise UsageError(f"{self.file}: cannot be opened ({error}); every machine must see the path") from error
        except (OSError, pa.ArrowException) as error:
            raise _Damaged(str(error)) from error


def _plain(field: str, value: Any) -> Any:
    """Numbers stand for labels and classes in many sets: 0 and 1 as a label, a class number as its category."""
    if field == "label_safe":
        return as_label(value)
    return str(value) if isinstance(value, int) and field in ("category", "subcategory") else value


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """Opened files: every footer was read and has the columns."""

    path: str
    split: str
    groups: tuple[RowGroupWindow, ...]
    files: tuple[tuple[str, str], ...]
    """(label, sha256 of the footer: schema, row groups, offsets and statistics)."""
    revision: str | None = None
    name: str = "parquet"

    def identity(self) -> dict[str, str | None]:
        """The files' footers stand for the files: hashing terabytes of pictures would take longer than a run."""
        whole = hashlib.sha256("".join(f"{label}\0{digest}\n" for label, digest in self.files).encode())
        path = printable(self.path)
        footers = {"files": str(len(self.files)), "index_sha256": whole.hexdigest()}
        return {"source": self.name, "path": path, "split": self.split, **footers, "revision": self.revision}

    def windows(self) -> list[Window]:
        return list(self.groups)


def open_source(config: SourceConfig) -> Source:
    """Find the files and read their footers. Raises UsageError for anything that is no Parquet or lacks a column."""
    if config.path is None:
        raise UsageError("--queries parquet: no --path given, expected a file, a folder, a glob or a Hub data set")
    columns = checked_columns(config.columns)
    paths, revision = _find_files(config.path, config)
    groups: list[RowGroupWindow] = []
    digests = []
    index = 0
    for label, path in _labelled(paths):
        footer, names, digest = _footer(path)
        layout = find_layout(footer, names, columns, config.split or "", str(path))
        digests.append((label, digest))
        for number, rows in enumerate(footer.rows):
            groups.append(RowGroupWindow(str(path), label, number, index, rows, layout))
            index += rows
    return ParquetSource(config.path, config.split or "", tuple(groups), tuple(digests), revision)


class Footer(NamedTuple):
    """What planning needs of a file's footer."""

    schema: pa.Schema
    rows: list[int]
    """Rows of each row group."""


def _footer(path: Path) -> tuple[Footer, list[str], str]:
    """(schema and row counts, leaf paths, digest). Raises UsageError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            metadata = parquet.metadata
            schema = parquet.schema_arrow
            leaves = [parquet.schema.column(i).path for i in range(len(parquet.schema))]
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path}: found no readable Parquet file ({error}); get it again") from error
    rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return Footer(schema, rows), leaves, hashlib.sha256(repr(metadata.to_dict()).encode()).hexdigest()


def find_layout(footer: Footer, leaves: list[str], columns: Columns, split: str, where: str) -> Layout:
    """Which column is what. Raises UsageError where the text or a mapped column is missing, or no column has pictures.

    Without a mapping the picture column is the well-known name, else the only one of a picture's type.
    """
    names = list(footer.schema.names)
    require_text(names, columns, where)
    used = {field: column for field in NAMES if (column := find_column(field, names, columns))}
    picture = used.pop("image", None) or _only_picture(footer.schema, columns, where)
    taken = {*used.values(), picture}
    extra = tuple(field.name for field in footer.schema if field.name not in taken and _is_simple(field.type))
    found = None if picture is None else _picture_column(footer.schema.field(picture), leaves, where)
    return Layout(tuple(used.items()), extra, found, split)


def _only_picture(schema: pa.Schema, columns: Columns, where: str) -> str | None:
    if "image" in dict(columns):
        return None
    found = [field.name for field in schema if _picture_type(field.type) is not None]
    if len(found) == 1:
        return str(found[0])
    mend = "map one with columns image=COLUMN, or image= for a set without pictures"
    known = ", ".join(f"{field.name} ({field.type})" for field in schema)[:500]
    raise UsageError(f"{where}: {len(found)} columns may hold pictures; {mend}; columns found: {known}")


def _picture_column(field: pa.Field, leaves: list[str], where: str) -> PictureColumn:
    kind = _picture_type(field.type)
    if kind is None:
        expected = "struct<bytes: binary, path: string>, a list of such, or binary"
        raise UsageError(f"{where}: column {field.name} is {field.type}, expected {expected} for pictures")
    own = [leaf for leaf in leaves if leaf == field.name or leaf.startswith(f"{field.name}.")]
    leaf = next((leaf for leaf in own if leaf.endswith(".path")), None)
    return PictureColumn(field.name, kind == "list", leaf)


def _picture_type(kind: pa.DataType) -> str | None:
    """`one`, `list`, or None for a type that holds no pictures."""
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "list" if _picture_type(kind.value_type) == "one" else None
    if pa.types.is_struct(kind):
        inside = [kind.field(i).name for i in range(kind.num_fields)]
        return "one" if "bytes" in inside and _picture_type(kind.field("bytes").type) == "one" else None
    return "one" if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else None


def _is_simple(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _find_files(path: str, config: SourceConfig) -> tuple[list[Path], str | None]:
    """(files in order, Hub revision)."""
    if hub.is_hub_id(path):
        return _hub_files(path, config)
    local = Path(path)
    if local.is_file():
        return [local], None
    if local.is_dir():
        found = sorted(file for file in local.rglob("*.parquet") if file.is_file())
        found = [file for file in found if of_split(str(file.relative_to(local)), config.split)]
    else:
        found = sorted(Path(file) for file in glob.glob(path, recursive=True) if Path(file).is_file())
    if not found:
        of = f" of split {config.split}" if config.split else ""
        raise UsageError(f"--path {path}: no Parquet file{of} found, expected a file, a folder or a glob")
    return found, None


def of_split(file: str, split: str | None) -> bool:
    """By the Hub's custom: `data/train-00000-of-00002.parquet`, `train/x.parquet` and `train.parquet` are `train`."""
    if split is None:
        return True
    *folders, name = Path(file).parts
    return split in folders or name == f"{split}.parquet" or name.startswith((f"{split}-", f"{split}_"))


def _hub_files(repository: str, config: SourceConfig) -> tuple[list[Path], str | None]:
    try:
        names = sorted(name for name in hub.list_files(repository, config) if name.endswith(".parquet"))
        names = [name for name in names if of_split(name, config.split)]
        if not names:
            raise UsageError(f"--path {repository}: the Hub data set has no Parquet file of split {config.split}")
        files = hub.fetch(repository, names, config)
    except hub.HubError as error:
        raise UsageError(f"--path {repository}: no such local path, and from the Hub: {error}") from error
    return list(files.paths), files.revision


def _labelled(paths: list[Path]) -> list[tuple[str, Path]]:
    """Each file with a short unique name for its rows' keys: its path below what all files share."""
    if len(paths) == 1:
        return [(printable(paths[0].name), paths[0])]
    shared = Path(*_common([path.parent.parts for path in paths]))
    return [(printable(str(path.relative_to(shared))), path) for path in paths]


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    shortest, longest = min(paths), max(paths)
    same = 0
    while same < min(len(shortest), len(longest)) and shortest[same] == longest[same]:
        same += 1
    return shortest[:same]
