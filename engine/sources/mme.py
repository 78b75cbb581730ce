"""MME (arXiv 2306.13394): two yes/no questions on each picture, one with each answer, in 14 tasks.

    existence/000000006040.jpg     existence/000000006040.txt      question <TAB> Yes
                                                                   question <TAB> No
    artwork/images/1.jpg           artwork/questions_answers_YN/1.txt
    existence.txt                  000000006040.jpg <TAB> question <TAB> Yes        (the results templates)

The Hub's form (`lmms-lab/MME`: question_id, image, question, answer, category) is read too. `--split test` (default)
asks the question as it is written ("… Please answer yes or no."), `--split llava` in the wording of LLaVA's question
file. `category` is the task; `extra` has the answer and the picture that joins the two questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.listed import Listing, checked_split, entries, fetch, local_folder, no_columns
from engine.sources.parquet import of_split
from engine.sources.records import Source, SourceConfig, quoted
from engine.sources.refs import FileRef, PictureRef, printable
from engine.sources.tables import parquet_rows

HUB_ID = "lmms-lab/MME"
OFFICIAL = " Please answer yes or no."
LLAVA = "\nAnswer the question using a single word or phrase."
"""What LLaVA's `llava_mme.jsonl` has in the place of OFFICIAL (facts of haotian-liu/LLaVA@c121f04)."""

PERCEPTION = (
    *("existence", "count", "position", "color", "posters"),
    *("celebrity", "scene", "landmark", "artwork", "OCR"),
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
"""The set's own tasks; one of another name is a task if there are pictures in its folder."""

PICTURES = (".jpg", ".png", ".jpeg", ".JPG", ".PNG")

HOW_TO = f"""\
How to get MME (free for research; write to its authors for the release), any of:
  1. the release, unpacked: --path MME_Benchmark_release_version
  2. its form on the Hub: --path {HUB_ID}
  3. any set in its layout: --path DIR with TASK/NAME.txt (question, tab, Yes or No) beside TASK/NAME.png"""


class Asked(NamedTuple):
    """One question as found."""

    key: str
    task: str
    group: str
    """The picture's name within its task: what joins two questions."""
    fields: list[str]
    """Question and answer, if the line is good."""
    picture: PictureRef


def open_source(config: SourceConfig) -> Source:
    """A local folder, or the Hub set. Raises UsageError that says how to get it."""
    no_columns(config)
    listing = Listing(config.name, checked_split(config, ("test", "llava")))
    if config.path is not None and hub.is_hub_id(config.path):
        files = fetch(config, HUB_ID, _shards, HOW_TO)
        return _open_tables(listing, config.path, list(files.paths), files.revision)
    folder = local_folder(config, HOW_TO)
    tables = sorted(folder.rglob("*.parquet"))
    if tables:
        return _open_tables(listing, str(folder), tables)
    found: list[Asked] = []
    for root in (folder, folder / "MME_Benchmark", folder / "MME_Benchmark_release_version"):
        found = found or sorted(_asked(listing, root), key=lambda asked: (asked.task, asked.group))
    if not found:
        expected = "TASK/NAME.txt beside TASK/NAME.jpg, TASK/questions_answers_YN/NAME.txt, TASK.txt, or Parquet files"
        raise UsageError(f"--path {folder}: found {entries(folder)}; expected {expected}\n{HOW_TO}")
    if all(len(asked.fields) != 2 for asked in found):
        expected = "question, tab, Yes or No (behind the picture's name in TASK.txt)"
        raise UsageError(f"{folder}: found {quoted(found[0].fields)} in {found[0].key}; expected {expected}\n{HOW_TO}")
    counts = _counts([(asked.task, asked.group) for asked in found])
    for asked in found:
        _add(listing, asked, counts[asked.task, asked.group])
    return listing.close(folder, "text files")


def _shards(names: list[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(".parquet") and of_split(name, "test"))


def _asked(listing: Listing, folder: Path) -> Iterator[Asked]:
    """The questions of every text file that is MME's."""
    for file in sorted(folder.rglob("*.txt")):
        parts = file.relative_to(folder).parts
        if len(parts) == 1 and (folder / file.stem).is_dir():
            yield from _results_file(listing, folder, file)
        elif len(parts) == 2 and _is_task(file.parent):
            yield from _picture_file(listing, folder, file, parts[0], "")
        elif len(parts) == 3 and parts[1] == "questions_answers_YN":
            yield from _picture_file(listing, folder, file, parts[0], "images/")


def _is_task(folder: Path) -> bool:
    """Not every folder is: the release comes with one of tools, whose text files are no questions."""
    return folder.name in (*PERCEPTION, *COGNITION) or any(path.suffix in PICTURES for path in folder.iterdir())


def _picture_file(listing: Listing, folder: Path, file: Path, task: str, below: str) -> Iterator[Asked]:
    """The lines of TASK/NAME.txt: question, answer."""
    stem = f"{task}/{below}{file.stem}"
    name = next((stem + ending for ending in PICTURES if (folder / (stem + ending)).is_file()), stem + PICTURES[0])
    for number, line in _lines(listing, file):
        key = f"{printable(str(file.relative_to(folder)))}:{number}"
        yield Asked(key, task, file.stem, line.split("\t"), FileRef(str(folder), name))


def _results_file(listing: Listing, folder: Path, file: Path) -> Iterator[Asked]:
    """The lines of TASK.txt: picture, question, answer, and perhaps somebody's reply, which is not read."""
    task = file.stem
    below = f"{task}/images/" if (folder / task / "images").is_dir() else f"{task}/"
    for number, line in _lines(listing, file):
        name, *fields = line.split("\t")
        key = f"{printable(file.name)}:{number}"
        yield Asked(key, task, name, fields[:2], FileRef(str(folder), below + name))


def _lines(listing: Listing, file: Path) -> list[tuple[int, str]]:
    """(number, line) of those that are not blank. Raises UsageError where the file is no UTF-8 text."""
    data = file.read_bytes()
    listing.digests.append(hashlib.sha256(data).hexdigest())
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: found no UTF-8 ({error.reason}), expected text; convert it") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _open_tables(listing: Listing, path: str, files: list[Path], revision: str | None = None) -> Source:
    found = []
    for file in files:
        for row in parquet_rows(listing, file, ["question_id", "question", "answer", "category", "image"]):
            record = row.record
            fields = [record["question"] or "", record["answer"] or ""]
            if row.picture is not None:
                found.append(Asked(row.key, str(record["category"]), str(record["question_id"]), fields, row.picture))
    counts = _counts([(asked.task, asked.group) for asked in found])
    for asked in found:
        _add(listing, asked, counts[asked.task, asked.group])
    return listing.close(path, f"{len(files)} Parquet files", revision)


def _counts(groups: list[tuple[str, str]]) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for group in groups:
        counts[group] = counts.get(group, 0) + 1
    return counts


def _add(listing: Listing, asked: Asked, questions: int) -> None:
    answer = asked.fields[1].strip().rstrip(".").lower() if len(asked.fields) == 2 else ""
    known: dict[str, Any] = {"group": f"{asked.task}/{asked.group}", "questions": questions}
    if answer not in ("yes", "no"):
        found = f"found {quoted(asked.fields)}, expected a question, a tab, and Yes or No"
        listing.refuse(asked.key, found, category=asked.task, label_safe=True, extra=known)
        return
    text = asked.fields[0].strip()
    if listing.split == "llava":
        text = llava_wording(text)
    extra = {"answer": answer, **known}
    listing.add(asked.key, text, (asked.picture,), category=asked.task, label_safe=True, extra=extra)


def llava_wording(text: str) -> str:
    """The question as LLaVA's file asks it."""
    return text.removesuffix(OFFICIAL) + LLAVA if text.endswith(OFFICIAL) else text
