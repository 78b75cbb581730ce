"""MMBench (arXiv 2307.06281): questions with two to four options; CircularEval asks each with its options rotated.

    mmbench_dev_20230712.tsv    index, question, hint, A, B, C, D, answer, category, l2-category, image (base64), …

A rotated copy has the index of its first form plus k · 1,000,000. `--split circular` (default) asks all rotations:
those of the file, or made here where the file has none. `--split vanilla` asks the first form only, as LLaVA does. The
prompt is LLaVA's: hint, question, options, and a sentence that asks for the letter. The Hub's Parquet form is read too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.listed import Listing, checked_split, entries, fetch, no_columns
from engine.sources.parquet import of_split
from engine.sources.records import Source, SourceConfig, quoted
from engine.sources.tables import TableRow, parquet_rows, tsv_rows

HUB_ID = "lmms-lab/MMBench"
STEP = 1_000_000
LETTERS = "ABCD"
COLUMNS = ("index", "question", "A", "B", "answer", "image")
ASK_LETTER = "\nAnswer with the option's letter from the given choices directly."
"""LLaVA's single-choice prompt (facts of haotian-liu/LLaVA@c121f04, model_vqa_mmbench.py)."""

HOW_TO = f"""\
How to get MMBench (Apache-2.0, not gated; answers are public for the dev split only), any of:
  1. mmbench_dev_20230712.tsv from https://github.com/open-compass/MMBench: --path FILE or its folder
  2. its form on the Hub: --path {HUB_ID} (configuration en, split dev)"""


def open_source(config: SourceConfig) -> Source:
    """A TSV file (or the folder of one), Parquet files, or the Hub set. Raises UsageError."""
    no_columns(config)
    listing = Listing(config.name, checked_split(config, ("circular", "vanilla")))
    revision = None
    if config.path is None:
        raise UsageError(f"--queries {config.name}: no --path given.\n{HOW_TO}")
    if hub.is_hub_id(config.path):
        fetched = fetch(config, HUB_ID, _shards, HOW_TO)
        files, revision = list(fetched.paths), fetched.revision
    else:
        files = _files(Path(config.path).expanduser())
    rows = [row for file in files for row in _rows(listing, file)]
    _fill(listing, rows)
    return listing.close(config.path, files[0].name, revision)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"--path {path}: no such file or folder.\n{HOW_TO}")
    tables = sorted(path.glob("*.tsv"))
    parquet = sorted(path.rglob("*.parquet"))
    if len(tables) == 1 or (parquet and not tables):
        return tables or parquet
    expected = "one .tsv file with the columns index, question, A to D, answer, image; or Parquet files"
    raise UsageError(f"--path {path}: found {entries(path)}; expected {expected}\n{HOW_TO}")


def _shards(names: list[str]) -> list[str]:
    english = [name for name in names if name.endswith(".parquet") and "en" in Path(name).parts]
    return sorted(name for name in english if of_split(name, "dev"))


def _rows(listing: Listing, file: Path) -> Iterator[TableRow]:
    read = parquet_rows if file.suffix == ".parquet" else tsv_rows
    return read(listing, file, COLUMNS)


def _fill(listing: Listing, rows: list[TableRow]) -> None:
    """The rows in the file's order, rotated where CircularEval is asked for and the file has no rotations."""
    problems = [row.problem or record_problem(row.record) for row in rows]
    indexes = [int(row.record["index"]) for row, problem in zip(rows, problems, strict=True) if problem is None]
    rotated = any(index >= STEP for index in indexes)
    asked: list[tuple[TableRow, str | None, dict[str, Any]]] = []
    for row, problem in zip(rows, problems, strict=True):
        if problem is not None or listing.split == "vanilla" or rotated:
            asked.append((row, problem, row.record))
        else:
            asked += [(row, None, record) for record in rotations(row.record)]
    if listing.split == "vanilla":
        asked = [each for each in asked if (_index(each[2]) or 0) < STEP]
    texts: dict[int, set[str]] = defaultdict(set)
    for row, problem, record in asked:
        # A bad row counts as a rotation of its own: the item cannot be right without it.
        if (index := _index(record)) is not None:
            texts[index % STEP].add(prompt(record) if problem is None else row.key)
    for row, problem, record in asked:
        index = _index(record)
        rotations_there = 0 if index is None else len(texts[index % STEP])
        if problem is None:
            _add(listing, row, record, rotations_there)
        else:
            extra = {} if index is None else {"index": index, "group": index % STEP, "rotations": rotations_there}
            listing.refuse(row.key, problem, label_safe=True, extra=extra, **labels(record))


def _index(record: Mapping[str, Any]) -> int | None:
    index = str(record.get("index"))
    return int(index) if index.isascii() and index.isdigit() and len(index) < 12 else None


def labels(record: Mapping[str, Any]) -> dict[str, Any]:
    """Our category is their `l2-category`, our subcategory their `category`."""
    level2 = record.get("l2-category", record.get("L2-category"))
    return {"category": level2, "subcategory": record.get("category")}


def record_problem(record: Mapping[str, Any]) -> str | None:
    """What is wrong with one record, or None."""
    if _index(record) is None:
        return f"index: found {quoted(record.get('index'))}, expected a number"
    options = choices(record)
    if len(options) < 2:
        return f"found the options {quoted(options)}, expected at least A and B"
    if record.get("answer") not in options:
        return f"answer: found {quoted(record.get('answer'))}, expected one of {', '.join(options)} (the dev split)"
    return None


def choices(record: Mapping[str, Any]) -> dict[str, str]:
    """Letter -> option, those that are there."""
    found = {letter: record.get(letter) for letter in LETTERS}
    return {letter: str(option) for letter, option in found.items() if option not in (None, "", "nan")}


def rotations(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The record and its copies with the options moved round by one, two, …; the answer moves with them."""
    options = choices(record)
    letters = list(options)
    found = []
    for shift in range(len(letters)):
        moved = {letter: options[letters[(k + shift) % len(letters)]] for k, letter in enumerate(letters)}
        answer = letters[(letters.index(record["answer"]) - shift) % len(letters)]
        found.append({**record, **moved, "answer": answer, "index": int(record["index"]) + shift * STEP})
    return found


def prompt(record: Mapping[str, Any]) -> str:
    """What LLaVA asks, all of it."""
    hint = record.get("hint")
    lines = [str(hint)] if hint not in (None, "", "nan") else []
    lines += [str(record.get("question")), *(f"{letter}. {option}" for letter, option in choices(record).items())]
    return "\n".join(lines) + ASK_LETTER


def _add(listing: Listing, row: TableRow, record: dict[str, Any], texts: int) -> None:
    """`texts`: how many different prompts the item has; two rotations with equal options are one query."""
    index = int(record["index"])
    extra = {"index": index, "group": index % STEP, "answer": record["answer"], "options": choices(record)}
    extra |= {"rotations": texts, "source": record.get("source")}
    key = row.key if int(row.record["index"]) == index else f"{row.key}+{index // STEP}"
    pictures = () if row.picture is None else (row.picture,)
    listing.add(key, prompt(record), pictures, label_safe=True, extra=extra, **labels(record))
