"""VLGuard (arXiv 2402.02207) and every set in its layout: `train.json`, `test.json`, and their pictures.

    {"id": …, "image": "bad_ads/x.png", "safe": false, "harmful_category": …, "harmful_subcategory": …,
     "instr-resp": [{"instruction": …, "response": …}]}
    {"id": …, "image": "coco/y.jpg", "safe": true,
     "instr-resp": [{"safe_instruction": …, "response": …}, {"unsafe_instruction": …, "response": …}]}

`image` is relative to `train/` (or to the folder itself), extracted or inside `train.zip`, which is read as it is. A
record gives one row for each of its instructions: 2,977 for VLGuard's train split. `id` is not unique there, so a row's
key is its place: `train.json:17#0`. Empty responses and "N/A" instructions are rows: curation decides about them.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.border import query_problem
from engine.sources.records import Source, SourceConfig, SourceRow, Window, bad_row, extra_json, is_clean, quoted
from engine.sources.refs import FileRef, PictureRef, ZipRef, open_zip, printable

HUB_ID = "ys-zong/VLGuard"

KINDS = {"instruction": None, "safe_instruction": True, "unsafe_instruction": False}
"""Key of an instruction -> is the query safe to answer (None: as the record's `safe` says of the picture)."""

RECORD_KEYS = ("safe", "harmful_category", "harmful_subcategory", "instr-resp")

WINDOW_RECORDS = 256
"""Records a window: a few hundred rows, so that a task start (milliseconds) weighs little, in about 100 kB."""

HOW_TO = f"""\
How to get VLGuard (it is gated), any of:
  1. request access at https://huggingface.co/datasets/{HUB_ID}, then set HF_TOKEN to a read token of that account
  2. give a local copy: --path DIR with train.json or test.json, and the pictures in train/ or train.zip
  3. try the engine without it: --queries sample"""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where the pictures of a split are: below a folder, or as members of a zip."""

    root: str
    prefix: str = ""
    zipped: bool = False

    def ref(self, image: str) -> PictureRef:
        return ZipRef(self.root, self.prefix + image) if self.zipped else FileRef(self.root, image)


@dataclass(frozen=True, slots=True)
class RecordWindow:
    """Some records, held inline: they are text, and small."""

    records: tuple[tuple[int, Any], ...]
    """(place in the file, record as parsed)."""
    first_index: int
    count: int
    name: str
    file: str
    split: str
    pictures: Pictures

    def rows(self) -> Iterator[SourceRow]:
        index = self.first_index
        for place, record in self.records:
            for row in self._record_rows(place, record, index):
                yield row
                index += 1

    def _record_rows(self, place: int, record: Any, index: int) -> Iterator[SourceRow]:
        found = record_problem(record)
        if found is not None:
            key = f"{self.file}:{place}#0"
            yield bad_row(index, key, f"{key}: {found}", "SchemaError", source=self.name, split=self.split)
            return
        for number, entry in enumerate(record["instr-resp"]):
            yield self._row(f"{self.file}:{place}#{number}", record, entry, index + number)

    def _row(self, key: str, record: dict[str, Any], entry: Any, index: int) -> SourceRow:
        """One instruction of one record. Never raises: a bad entry is a row with a problem."""
        kind = _kind(entry)
        if kind is None:
            found = f"{key}: instr-resp: found {quoted(entry)}, expected an object with one of {', '.join(KINDS)}"
            return bad_row(index, key, found, "SchemaError", source=self.name, split=self.split)
        query = _query(record, entry, kind)
        problem = query_problem(query, key)
        if problem is not None:
            text = query["text"] if isinstance(query["text"], str) and is_clean(query["text"]) else ""
            return bad_row(index, key, *problem, source=self.name, split=self.split, text=text)
        return SourceRow(
            index,
            key,
            query["text"],
            source=self.name,
            pictures=(self.pictures.ref(record["image"]),),
            split=self.split,
            category=query["category"],
            subcategory=query["subcategory"],
            label_safe=query["label_safe"],
            reference=query["reference"],
            extra=extra_json(_extra(record, entry, kind)),
        )


@dataclass(frozen=True, slots=True)
class VLGuardSource:
    """An opened split: parsed records, and where its pictures are."""

    name: str
    index: Path
    split: str
    records: list[Any]
    pictures: Pictures
    index_sha256: str
    repository: str | None = None
    revision: str | None = None

    def identity(self) -> dict[str, str | None]:
        return {
            "source": self.name,
            "path": self.repository or printable(str(self.index.parent)),
            "split": self.split,
            "index": self.index.name,
            "index_sha256": self.index_sha256,
            "revision": self.revision,
        }

    def windows(self) -> list[Window]:
        windows: list[Window] = []
        index = 0
        for start in range(0, len(self.records), WINDOW_RECORDS):
            records = tuple(enumerate(self.records[start : start + WINDOW_RECORDS], start))
            count = sum(_row_count(record) for _, record in records)
            windows.append(RecordWindow(records, index, count, self.name, self.index.name, self.split, self.pictures))
            index += count
        return windows


def open_source(config: SourceConfig) -> Source:
    """A local folder, or the gated Hub set. Raises UsageError that says how to get the data."""
    if config.columns:
        raise UsageError("--queries vlguard: found a column mapping, expected none; use --queries folder or parquet")
    if config.path is None or hub.is_hub_id(config.path):
        return _open_hub(config, config.path or HUB_ID)
    return open_folder(Path(config.path), split=config.split, name="vlguard")


def open_folder(folder: Path, *, split: str | None = None, name: str = "vlguard") -> Source:
    """The split (default `train`) of a local folder. Raises UsageError where index or pictures are missing."""
    split = split or "train"
    if not folder.is_dir():
        raise UsageError(f"--path {folder}: no such folder.\n{HOW_TO}")
    index = folder / f"{split}.json"
    if Path(split).name != split or not index.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.json"))) or "none"
        raise UsageError(f"--path {folder}: no {split}.json for --split {split}; splits found: {known}.\n{HOW_TO}")
    records, digest = _read_index(index)
    pictures = _find_pictures(folder, folder / f"{split}.zip", split, _images(records))
    return VLGuardSource(name, index, split, records, pictures, digest)


def _open_hub(config: SourceConfig, repository: str) -> Source:
    """Download index and zip of one split (cached by huggingface_hub); pictures stay in the zip."""
    split = config.split or "train"
    if repository == HUB_ID and hub.is_out_of_reach(repository, f"{split}.json", config):
        raise UsageError(f"--queries vlguard: found neither --path nor a token ({config.token_env}).\n{HOW_TO}")
    try:
        files = hub.fetch(repository, (f"{split}.json", f"{split}.zip"), config)
    except hub.HubError as error:
        local = f" --path {config.path}: no such local folder, and from the Hub" if config.path else ""
        raise UsageError(f"--queries vlguard{local}: {error}.\n{HOW_TO}") from error
    index, archive = files.paths
    records, digest = _read_index(index)
    pictures = _find_pictures(archive.parent / "no-extracted-pictures", archive, split, _images(records))
    return VLGuardSource("vlguard", index, split, records, pictures, digest, repository, files.revision)


def _read_index(index: Path) -> tuple[list[Any], str]:
    """The records and the file's sha256. Raises UsageError where the file is no JSON list."""
    try:
        data = index.read_bytes()
        records = json.loads(data)
    except OSError as error:
        raise UsageError(f"{index}: cannot be read ({error.strerror}); check the path and its permissions") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{index}: found no JSON ({error}), expected a JSON list of records; get it again") from error
    if not isinstance(records, list):
        raise UsageError(f"{index}: found a JSON {type(records).__name__}, expected a list of records")
    return records, hashlib.sha256(data).hexdigest()


def _find_pictures(folder: Path, archive: Path, split: str, images: list[str]) -> Pictures:
    """The first place that holds at least one of the pictures. Raises UsageError where none does.

    One place for the whole split: a picture missing there is an error of its row.
    """
    for root in (folder / split, folder):
        if any((root / image).is_file() for image in images if "\0" not in image):
            return Pictures(str(root))
    members = _members(archive) if archive.is_file() else frozenset()
    for prefix in ("", f"{split}/"):
        if any(prefix + image in members for image in images):
            return Pictures(str(archive), prefix, zipped=True)
    if not images:
        return Pictures(str(folder / split))
    found = f"none of the {len(images):,} pictures named by {split}.json, such as {quoted(images[0])}"
    looked = f"{folder / split}/, {folder}/ and {archive}"
    raise UsageError(f"{found}, is in {looked}; unzip {split}.zip there, or put the zip beside {split}.json")


def _members(archive: Path) -> frozenset[str]:
    try:
        return frozenset(open_zip(str(archive)).namelist())
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{archive}: found no readable zip ({error}), expected the pictures; get it again") from error


def _images(records: list[Any]) -> list[str]:
    return [record["image"] for record in records if record_problem(record) is None]


def record_problem(record: Any) -> str | None:
    """What is wrong with a whole record, so that it gives one error row, or None."""
    if not isinstance(record, dict):
        return f"found {quoted(record)}, expected an object"
    image, entries = record.get("image"), record.get("instr-resp")
    if not isinstance(image, str) or not image:
        return f"image: found {quoted(image)}, expected the path of a picture"
    if not isinstance(entries, list) or not entries:
        return f"instr-resp: found {quoted(entries)}, expected a list of at least one instruction"
    return None


def _row_count(record: Any) -> int:
    return 1 if record_problem(record) is not None else len(record["instr-resp"])


def _kind(entry: Any) -> str | None:
    return next((kind for kind in KINDS if kind in entry), None) if isinstance(entry, dict) else None


def _query(record: dict[str, Any], entry: dict[str, Any], kind: str) -> dict[str, Any]:
    """The row in the words of `schemas/query.json`."""
    safe = KINDS[kind]
    return {
        "text": entry[kind],
        "pictures": [record["image"]],
        "category": record.get("harmful_category"),
        "subcategory": record.get("harmful_subcategory"),
        "label_safe": record.get("safe") if safe is None else safe,
        "reference": entry.get("response"),
    }


def _extra(record: dict[str, Any], entry: dict[str, Any], kind: str) -> dict[str, Any]:
    """What is left of record and entry, and two words of ours: which instruction it was, and the picture's label."""
    extra = {key: value for key, value in record.items() if key not in RECORD_KEYS}
    extra |= {key: value for key, value in entry.items() if key not in (*KINDS, "response")}
    return extra | {"instruction_key": kind, "picture_safe": record.get("safe")}
