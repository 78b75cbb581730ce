"""MM-Vet (arXiv 2308.02490): open questions, each of which needs several of six capabilities; a model grades.

    mm-vet.json         {"v1_0": {"imagename": "v1_0.png", "question": …, "answer": …, "capability": ["ocr", "math"]}}
    images/v1_0.png

`extra` has the ground truth (with its `<AND>` and `<OR>`) and the capabilities. The Hub's form is read too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.listed import Listing, checked_split, entries, fetch, local_folder, no_columns, records_of
from engine.sources.parquet import of_split
from engine.sources.records import Source, SourceConfig, quoted
from engine.sources.refs import FileRef, PictureRef
from engine.sources.tables import parquet_rows

HUB_ID = "lmms-lab/MMVet"
INDEX = "mm-vet.json"

HOW_TO = f"""\
How to get MM-Vet (CC-BY-NC-4.0, not gated), any of:
  1. mm-vet.zip from the releases of https://github.com/yuweihao/MM-Vet, unpacked: --path mm-vet
  2. its form on the Hub: --path {HUB_ID}"""


def open_source(config: SourceConfig) -> Source:
    """A local folder, or the Hub set. Raises UsageError that says how to get it."""
    no_columns(config)
    listing = Listing(config.name, checked_split(config, ("test",)))
    if config.path is not None and hub.is_hub_id(config.path):
        files = fetch(config, HUB_ID, _shards, HOW_TO)
        return _open_tables(listing, config.path, list(files.paths), files.revision)
    folder = local_folder(config, HOW_TO)
    for root in (folder, folder / "mm-vet"):
        if (root / INDEX).is_file():
            _read(listing, root / INDEX, root / "images")
            return listing.close(folder, INDEX)
    tables = sorted(folder.rglob("*.parquet"))
    if tables:
        return _open_tables(listing, str(folder), tables)
    raise UsageError(f"--path {folder}: found {entries(folder)}; expected {INDEX} and images/, or Parquet\n{HOW_TO}")


def _shards(names: list[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(".parquet") and of_split(name, "test"))


def _read(listing: Listing, index: Path, pictures: Path) -> None:
    for key, record in records_of(listing.read_json(index), str(index), ["imagename", "question", "answer"]):
        name = record.get("imagename") if isinstance(record, dict) else None
        if not isinstance(name, str) or not name:
            listing.refuse(f"{INDEX}:{key}", f"imagename: found {quoted(name)}, expected the name of a picture")
            continue
        _add(listing, f"{INDEX}:{key}", key, record, FileRef(str(pictures), name))


def _open_tables(listing: Listing, path: str, files: list[Path], revision: str | None = None) -> Source:
    for file in files:
        for row in parquet_rows(listing, file, ["question_id", "question", "answer", "capability", "image"]):
            _add(listing, row.key, str(row.record["question_id"]), row.record, row.picture)
    return listing.close(path, f"{len(files)} Parquet files", revision)


def _add(listing: Listing, place: str, key: str, record: dict[str, Any], picture: PictureRef | None) -> None:
    answer, capability = record.get("answer"), record.get("capability")
    names = capability.split(",") if isinstance(capability, str) else capability
    if not isinstance(answer, str) or not answer.strip():
        listing.refuse(place, f"answer: found {quoted(answer)}, expected the ground truth")
        return
    if not isinstance(names, list) or not names:
        listing.refuse(place, f"capability: found {quoted(capability)}, expected a list such as rec, ocr")
        return
    extra = {"id": key, "answer": answer, "capability": sorted(str(name).strip() for name in names)}
    pictures = () if picture is None else (picture,)
    category = "_".join(extra["capability"])
    listing.add(place, record.get("question"), pictures, category=category, label_safe=True, extra=extra)
