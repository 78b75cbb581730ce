"""VLSafe (DRESS, arXiv 2311.10081): harmful questions over ordinary photographs of COCO.

    harmlessness_examine.jsonl     {"image_id": "000000051977.jpg", "caption": …, "query": …}
    train2017/000000051977.jpg     COCO's own pictures

`--split examine` (default) is the test set of 1,110 rows, `alignment` its training part, whose file is spelt
`harmlessnss_alignment.jsonl` and has a `reference`. ECSO's layout (VLSafe_harmlessness_examine/data.jsonl) is read too.
"""

from __future__ import annotations

from pathlib import Path

from engine.errors import UsageError
from engine.sources.folder import parse_json
from engine.sources.lines import open_text, read_lines, sha256_of
from engine.sources.listed import SNIFFED, Listing, checked_split, entries, local_folder, no_columns, require
from engine.sources.records import Source, SourceConfig, quoted
from engine.sources.refs import FileRef

INDEXES = {
    "examine": ("harmlessness_examine.jsonl", "VLSafe_harmlessness_examine/data.jsonl"),
    "alignment": ("harmlessnss_alignment.jsonl", "harmlessness_alignment.jsonl"),
}
PLACES = ("train2017", "coco/train2017", "images", ".")
"""Where COCO's pictures may lie below --path."""

HOW_TO = """\
How to get VLSafe (not gated; the pictures are COCO's, with Flickr's terms of use):
  1. from the Hub, https://huggingface.co/datasets/YangyiYY/LVLM_NLF: VLSafe/harmlessness_examine.jsonl into DIR
  2. http://images.cocodataset.org/zips/train2017.zip, to DIR/train2017 (only the named pictures are read)
  3. --path DIR"""


def open_source(config: SourceConfig) -> Source:
    """One split of a local folder. Raises UsageError that says how to get it."""
    no_columns(config)
    split = checked_split(config, tuple(INDEXES))
    folder = local_folder(config, HOW_TO)
    names = [f"{parent}{name}" for parent in ("", "VLSafe/", "vlsafe/") for name in INDEXES[split]]
    index = next((folder / name for name in names if (folder / name).is_file()), None)
    if index is None:
        raise UsageError(f"--path {folder}: found {entries(folder)}; expected {' or '.join(INDEXES[split])}\n{HOW_TO}")
    listing = Listing(config.name, split)
    listing.digests.append(sha256_of(index))
    first = _read(listing, index, folder)
    require(str(index), first[:SNIFFED], ["image_id", "query"])
    return listing.close(folder, index.name)


def _read(listing: Listing, index: Path, folder: Path) -> list[object]:
    """Every line becomes a row; the records, for a look at their columns."""
    records: list[object] = []
    pictures: Path | None = None
    with open_text(index) as file:
        for line in read_lines(file):
            if line.raw is not None and not line.raw.strip():
                continue
            key = f"{index.name}:{line.number}"
            try:
                record = parse_json(line)
            except ValueError as error:
                listing.refuse(key, str(error))
                continue
            records.append(record)
            name = record.get("image_id")
            if not isinstance(name, str) or not name:
                listing.refuse(key, f"image_id: found {quoted(name)}, expected the name of a picture")
                continue
            pictures = pictures or _place(folder, name)
            refs = (FileRef(str(pictures or folder / PLACES[0]), name),)
            extra = {"caption": record.get("caption")}
            reference = record.get("reference")
            listing.add(key, record.get("query"), refs, label_safe=False, reference=reference, extra=extra)
    return records


def _place(folder: Path, name: str) -> Path | None:
    """The first place that holds this picture; the same one is then used for all."""
    return next((folder / place for place in PLACES if "\0" not in name and (folder / place / name).is_file()), None)
