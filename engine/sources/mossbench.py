"""MOSSBench (arXiv 2406.17806), and any over-refusal set in its layout: harmless questions that look alarming.

    images_information/information.json     {"1": {"image": "images/1.webp", "question": …, "pid": "1",
                                                   "metadata": {"over": "type 1", …}}, …}
    images/1.webp

`image` is relative to the folder. The category is the kind of stimulus (`metadata.over`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.listed import Listing, checked_split, entries, fetch, local_folder, no_columns, records_of
from engine.sources.records import Source, SourceConfig, quoted
from engine.sources.refs import FileRef

HUB_ID = "AIcell/MOSSBench"
INDEXES = ("images_information/information.json", "information.json")

KINDS = {"1": "exaggerated risk", "2": "negated harm", "3": "counterintuitive interpretation"}
"""Number of the type -> what the paper calls it."""

HOW_TO = f"""\
How to get MOSSBench (CC-BY-4.0, not gated), any of:
  1. --path {HUB_ID} (from the Hub)
  2. git clone https://github.com/xirui-li/MOSSBench, then --path MOSSBench/data
  3. any set in its layout: --path DIR with information.json and the pictures that it names"""


def open_source(config: SourceConfig) -> Source:
    """A local folder, or the Hub set. Raises UsageError that says how to get it."""
    no_columns(config)
    listing = Listing(config.name, checked_split(config, ("test",)))
    if config.path is not None and hub.is_hub_id(config.path):
        return _open_hub(config, listing)
    folder = local_folder(config, HOW_TO)
    for root in (folder, folder / "data"):
        index = next((root / name for name in INDEXES if (root / name).is_file()), None)
        if index is not None:
            _read(listing, index, root)
            return listing.close(folder, index.name)
    raise UsageError(f"--path {folder}: found {entries(folder)}; expected {' or '.join(INDEXES)}\n{HOW_TO}")


def _read(listing: Listing, index: Path, root: Path, prefix: str = "") -> None:
    for key, record in records_of(listing.read_json(index), str(index), ["question", "image"]):
        place = f"{index.name}:{key}"
        image = record.get("image") if isinstance(record, dict) else None
        if not isinstance(image, str) or not image:
            listing.refuse(place, f"image: found {quoted(image)}, expected the path of a picture")
            continue
        metadata = record.get("metadata") if isinstance(record.get("metadata"), dict) else {}
        extra = {"pid": record.get("pid", key), "description": _described(record), "metadata": metadata}
        ref = FileRef(str(root), prefix + image)
        category = _kind(metadata.get("over"))
        listing.add(place, record.get("question"), (ref,), category=category, label_safe=True, extra=extra)


def _described(record: dict[str, Any]) -> Any:
    """The file says `description`, the README `short description`."""
    return record.get("description", record.get("short description"))


def _kind(over: object) -> str | None:
    """`type 1`, `type1` or `1` by its name; anything else as it stands."""
    if over is None:
        return None
    text = str(over)
    return KINDS.get(text.lower().removeprefix("type").strip(), text)


def _open_hub(config: SourceConfig, listing: Listing) -> Source:
    """The index names its pictures below the folder that it is relative to, so all of them are fetched beside it."""
    wanted: list[str] = []

    def choose(names: list[str]) -> list[str]:
        index = next((name for name in INDEXES if name in names), None)
        if index is None:
            raise UsageError(f"--path {config.path}: no {' or '.join(INDEXES)} on the Hub\n{HOW_TO}")
        wanted[:] = [index, *(name for name in names if name.startswith("images/"))]
        return wanted

    files = fetch(config, HUB_ID, choose, HOW_TO)
    index = files.paths[0]
    snapshot = index.parents[len(Path(wanted[0]).parts) - 1]
    # The cache holds links into its blobs/: the root is the folder of both, or every picture would lead outside.
    _read(listing, index, snapshot.parent.parent, f"{snapshot.parent.name}/{snapshot.name}/")
    return listing.close(config.path or HUB_ID, index.name, files.revision)
