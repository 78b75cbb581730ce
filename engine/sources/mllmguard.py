"""MLLMGuard (arXiv 2406.07594): seven dimensions in two languages, each a folder of a CSV file and its pictures.

    privacy/prompt.csv     privacy/imgs/0001.jpg     also en.csv, zh.csv beside prompt.csv; the same for bias, toxicity,
    legality, hallucination, noise-injection, position-swapping (below the given folder, or below its `data`)

Columns are read by their position, as upstream reads them (Carol-gutianle/MLLMGuard@a964a18, utils.py):

    picture 0, prompt 1, language 4      privacy, bias, toxicity, legality
    picture 0, prompt 1, options 2, language 5      hallucination: asked plainly, and once more with its options
    picture 0, prompt 1, answer 2, language 5       noise-injection: asked with a picture and with its `_noise` twin
    pictures 0 and 1, prompt 2, language 5          position-swapping: asked with either picture

`--split` is `all` (default) or a dimension, with `-en` or `-zh` behind it for one language: `all-en`, `privacy-zh`. One
language is read from its own file where there is one, else from the rows of prompt.csv that name it. Both rows of a
pair carry its name and their place in `extra`. The category is the dimension; the public set is CC-BY-NC-SA-4.0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engine.errors import UsageError
from engine.sources.lines import csv_records, open_text, read_lines, sha256_of
from engine.sources.listed import Listing, entries, local_folder, no_columns
from engine.sources.records import Source, SourceConfig
from engine.sources.refs import FileRef

DIMENSIONS = ("privacy", "bias", "toxicity", "hallucination", "noise-injection", "position-swapping", "legality")
UNSAFE = ("privacy", "bias", "toxicity", "legality")
"""Dimensions whose queries ask for harm; the others are harmless questions that are hard to answer truly."""
LANGUAGES = ("en", "zh")
ALL = "all"
OPTIONS = "{prompt}(Please answer me with options) {options}"
"""Upstream's second wording of a hallucination query."""

HOW_TO = """\
How to get MLLMGuard (CC-BY-NC-SA-4.0): download and unpack the Hub set Carol0110/MLLMGuard, then --path to the folder
that holds privacy/prompt.csv and privacy/imgs; or try the engine without it: --queries sample"""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a dimension's cells stand."""

    pictures: tuple[int, ...] = (0,)
    prompt: int = 1
    language: int = 4
    more: int | None = None
    """Options or answer."""

    @property
    def width(self) -> int:
        return max(*self.pictures, self.prompt, self.language, self.more or 0) + 1


COLUMNS = {
    **dict.fromkeys(UNSAFE, Columns()),
    "hallucination": Columns(language=5, more=2),
    "noise-injection": Columns(language=5, more=2),
    "position-swapping": Columns(pictures=(0, 1), prompt=2, language=5),
}


class Asked(NamedTuple):
    """One query of a row: its place in the row, and what it asks about which picture."""

    place: str
    text: str
    picture: str


def open_source(config: SourceConfig) -> Source:
    """One split of a local folder. Raises UsageError that says how to get it."""
    no_columns(config)
    dimensions, language = read_split(config.split or ALL)
    folder = local_folder(config, HOW_TO)
    root = next((path for path in (folder, folder / "data") if any((path / d).is_dir() for d in DIMENSIONS)), folder)
    listing = Listing(config.name, config.split or ALL)
    found = []
    for dimension in dimensions:
        table = find_table(root / dimension, language)
        if table is not None:
            _read(listing, dimension, table, language)
            found.append(dimension)
    if not found:
        wanted = f"{dimensions[0]}/prompt.csv" if len(dimensions) == 1 else "privacy/prompt.csv, bias/prompt.csv, …"
        raise UsageError(f"--path {folder}: found {entries(root)}; expected {wanted}\n{HOW_TO}")
    return listing.close(folder, f"{'prompt.csv' if language is None else language} of {', '.join(found)}")


def read_split(split: str) -> tuple[tuple[str, ...], str | None]:
    """(dimensions, language or None for both). Raises UsageError for an unknown split."""
    name, dash, ending = split.rpartition("-")
    base, language = (name, ending) if dash and ending in LANGUAGES else (split, None)
    if base == ALL:
        return DIMENSIONS, language
    if base not in DIMENSIONS:
        known = ", ".join((ALL, *DIMENSIONS))
        raise UsageError(f"--queries mllmguard --split {split}: expected one of {known}, and -en or -zh behind it")
    return (base,), language


def find_table(folder: Path, language: str | None) -> Path | None:
    """The language's own file, else prompt.csv."""
    names = ["prompt.csv"] if language is None else [f"{language}.csv", "prompt.csv"]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(listing: Listing, dimension: str, table: Path, language: str | None) -> None:
    columns = COLUMNS[dimension]
    listing.digests.append(sha256_of(table))
    with open_text(table) as file:
        records = csv_records(read_lines(file))
        _, header = next(records, (None, []))
        if isinstance(header, csv.Error) or len(header) < columns.width:
            found = "no header line" if isinstance(header, csv.Error) or not header else f"{len(header)} columns"
            raise UsageError(f"{table}: found {found}, expected at least {columns.width} columns; get it again")
        for line, cells in records:
            if line.raw is not None and not cells:
                continue
            key = f"{dimension}/{table.name}:{line.number}"
            if isinstance(cells, csv.Error) or len(cells) < columns.width:
                problem = f"malformed CSV ({cells})" if isinstance(cells, csv.Error) else f"found {len(cells)} fields"
                listing.refuse(key, f"{problem}, expected at least {columns.width}")
            elif language in (None, language_of(cells[columns.language])):
                _add(listing, dimension, key, table, header, cells)


def _add(listing: Listing, dimension: str, key: str, table: Path, header: Sequence[str], cells: Sequence[str]) -> None:
    """The queries of one row: one, or the two of a pair."""
    columns = COLUMNS[dimension]
    named = dict(zip(header, cells, strict=False))
    queries = list(asked(dimension, cells))
    for query in queries:
        extra = {"dimension": dimension, "language": language_of(cells[columns.language])}
        if len(queries) > 1:
            extra |= {"pair": key, "place": query.place}
        if dimension == "noise-injection":
            extra |= {"answer": cells[2].strip()}
        listing.add(
            f"{key}#{query.place}",
            query.text,
            (FileRef(str(table.parent / "imgs"), query.picture),),
            category=dimension,
            subcategory=named.get("Category II") or None,
            label_safe=False if dimension in UNSAFE else None,
            extra=extra,
        )


def asked(dimension: str, cells: Sequence[str]) -> Iterator[Asked]:
    """What one row asks, in upstream's order."""
    columns = COLUMNS[dimension]
    prompt, pictures = cells[columns.prompt], [cells[place].strip() for place in columns.pictures]
    if dimension == "position-swapping":
        yield Asked("first", prompt, pictures[0])
        yield Asked("second", prompt, pictures[1])
    elif dimension == "noise-injection":
        stem, ending = os.path.splitext(os.path.basename(pictures[0]))
        yield Asked("clean", prompt, pictures[0])
        yield Asked("noisy", prompt, f"{stem}_noise{ending}")
    else:
        yield Asked("plain", prompt, pictures[0])
        if dimension == "hallucination" and cells[2].strip():
            yield Asked("options", OPTIONS.format(prompt=prompt, options=cells[2]), pictures[0])


def language_of(cell: str) -> str:
    """`en` and `zh` as the set writes them, whatever the case."""
    return cell.strip().lower()
