"""MM-SafetyBench (arXiv 2311.17600): 13 scenarios, each question with three pictures of what it asks for, or with none.

    data/processed_questions/01-Illegal_Activitiy.json    {"0": {"Question": …, "Changed Question": …,
                                                           "Rephrased Question": …, "Rephrased Question(SD)": …}, …}
    data/imgs/01-Illegal_Activitiy/{SD,TYPO,SD_TYPO}/0.jpg

`--split` is the mode, and the mode says which question is asked (facts of gyhdog99/ECSO@3878522, model_mmsafe.py):
SD asks "Rephrased Question(SD)", TYPO and SD_TYPO "Rephrased Question", `text` the official "Changed Question" without
a picture; ECSO's own two further modes are `normal` ("Question" with the SD picture) and `question` ("Question" alone).
Also read: ECSO's layout (`processed_questions/<SC>/<SC>.json`, `images/<SC>/<mode>/<id>.jpg`) and the Hub mirror's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UsageError
from engine.sources import hub
from engine.sources.listed import Listing, checked_split, entries, fetch, local_folder, no_columns, records_of
from engine.sources.records import Source, SourceConfig, quoted
from engine.sources.refs import FileRef
from engine.sources.tables import parquet_rows

HUB_ID = "PKU-Alignment/MM-SafetyBench"

SCENARIOS = (
    "01-Illegal_Activitiy",
    "02-HateSpeech",
    "03-Malware_Generation",
    "04-Physical_Harm",
    "05-EconomicHarm",
    "06-Fraud",
    "07-Sex",
    "08-Political_Lobbying",
    "09-Privacy_Violence",
    "10-Legal_Opinion",
    "11-Financial_Advice",
    "12-Health_Consultation",
    "13-Gov_Decision",
)
"""As the set spells them; the Hub mirror leaves out the numbers."""
NUMBERED = {name[3:]: name for name in SCENARIOS}


class Mode(NamedTuple):
    """Which question is asked, with which picture, and the mirror's name of it (None: the mirror has it not)."""

    column: str
    pictures: str | None
    mirror: str | None


MODES = {
    "SD_TYPO": Mode("Rephrased Question", "SD_TYPO", "SD_TYPO"),
    "SD": Mode("Rephrased Question(SD)", "SD", "SD"),
    "TYPO": Mode("Rephrased Question", "TYPO", "TYPO"),
    "text": Mode("Changed Question", None, "Text_only"),
    "normal": Mode("Question", "SD", None),
    "question": Mode("Question", None, None),
}

HOW_TO = f"""\
How to get MM-SafetyBench (CC-BY-NC-4.0, not gated), any of:
  1. git clone https://github.com/isXinLiu/MM-SafetyBench, unpack its pictures (a Google Drive link in its README) into
     data/imgs, and give --path MM-SafetyBench
  2. the mirror on the Hub: --path {HUB_ID}
  3. try the engine without it: --queries sample"""

LAYOUTS = """\
expected one of
  the official layout   data/processed_questions/01-Illegal_Activitiy.json, data/imgs/01-Illegal_Activitiy/SD/0.jpg
  ECSO's layout         processed_questions/01-Illegal_Activitiy/01-Illegal_Activitiy.json, images/…/SD/0.jpg
  the Hub mirror's      data/Illegal_Activitiy/SD.parquet"""


def open_source(config: SourceConfig) -> Source:
    """One mode (default SD_TYPO) of a local folder or of the mirror. Raises UsageError."""
    no_columns(config)
    mode = checked_split(config, tuple(MODES))
    listing = Listing(config.name, mode)
    if config.path is not None and hub.is_hub_id(config.path):
        return _open_hub(config, listing)
    folder = local_folder(config, HOW_TO)
    for root in (folder, folder / "data", folder / "mmsafe", folder / "data" / "mmsafe"):
        questions = root / "processed_questions"
        if questions.is_dir():
            return _open_json(listing, folder, questions, _pictures(root))
    tables = _tables([str(path.relative_to(folder)) for path in folder.rglob("*.parquet")], mode)
    if tables:
        return _open_tables(listing, config.path or "", [(name, folder / file) for name, file in tables])
    raise UsageError(f"--path {folder}: found {entries(folder)}; {LAYOUTS}\n{HOW_TO}")


def _pictures(root: Path) -> Path:
    return next((root / name for name in ("imgs", "images") if (root / name).is_dir()), root / "imgs")


def _open_json(listing: Listing, folder: Path, questions: Path, pictures: Path) -> Source:
    """The official layout, and ECSO's, which has one more level of folders."""
    mode = MODES[listing.split]
    files = [
        (name, file)
        for name in SCENARIOS
        for file in (questions / f"{name}.json", questions / name / f"{name}.json")
        if file.is_file()
    ]
    if not files:
        raise UsageError(f"--path {folder}: found {entries(questions)} in {questions}; {LAYOUTS}\n{HOW_TO}")
    for name, file in files:
        # By keys: ids may be missing in between (two releases count differently).
        for key, record in records_of(listing.read_json(file), str(file), [mode.column]):
            _add(listing, f"{name}:{key}", name, key, record, pictures)
    return listing.close(folder, f"processed_questions of {len(files)} scenarios")


def _add(listing: Listing, place: str, scenario: str, key: str, record: Any, pictures: Path) -> None:
    mode = MODES[listing.split]
    if not isinstance(record, dict):
        found = f"found {quoted(record)}, expected an object with {mode.column!r}"
        listing.refuse(place, found, category=scenario, label_safe=False, extra={"id": key})
        return
    refs = () if mode.pictures is None else (FileRef(str(pictures), f"{scenario}/{mode.pictures}/{key}.jpg"),)
    extra = {"id": key, "question": record.get("Question"), "phrase_type": record.get("Phrase Type")}
    listing.add(place, record.get(mode.column), refs, category=scenario, label_safe=False, extra=extra)


def _tables(names: list[str], mode: str) -> list[tuple[str, str]]:
    """(scenario, file) of the mirror's files for a mode, in the set's order: `data/Fraud/SD.parquet`, or in shards."""
    found = []
    for name in sorted(names):
        match = re.search(r"(?:^|/)(\w+)/(\w+?)(?:-\d+-of-\d+)?\.parquet$", name)
        if match and match.group(1) in NUMBERED and match.group(2) == MODES[mode].mirror:
            found.append((NUMBERED[match.group(1)], name))
    return sorted(found)


def _open_hub(config: SourceConfig, listing: Listing) -> Source:
    if MODES[listing.split].mirror is None:
        raise UsageError(f"--split {listing.split}: the mirror on the Hub does not have it; give a local folder")

    def choose(names: list[str]) -> list[str]:
        chosen = [file for _, file in _tables(names, listing.split)]
        if not chosen:
            raise UsageError(f"--path {config.path}: found {len(names):,} files on the Hub; {LAYOUTS}")
        return chosen

    files = fetch(config, HUB_ID, choose, HOW_TO)
    tables = [(NUMBERED[path.parent.name], path) for path in files.paths]
    return _open_tables(listing, config.path or HUB_ID, tables, files.revision)


def _open_tables(listing: Listing, path: str, tables: list[tuple[str, Path]], revision: str | None = None) -> Source:
    with_pictures = MODES[listing.split].pictures is not None
    for scenario, file in tables:
        for row in parquet_rows(listing, file, ["question", "image"] if with_pictures else ["question"]):
            refs = (row.picture,) if with_pictures and row.picture is not None else ()
            extra = {"id": str(row.record.get("id"))}
            key = f"{scenario}:{row.key}"
            listing.add(key, row.record.get("question"), refs, category=scenario, label_safe=False, extra=extra)
    return listing.close(path, f"{len(tables)} Parquet files", revision)
