"""What a person said of rows: `--reviewed FILE`, JSON lines of query_id, verdict (harmless or harmful) and a note.

A person's word goes before the judge's, both ways: `harmful` drops a row that the judge passed, `harmless` keeps one
that the verdict filter would drop (also in the abstain band of a calibrated run, docs/calibrate.md). All other steps
look at the row as at any other. A row that has no answer cannot be kept by anybody.

Covers: files as `engine.calibrate` writes them, filled in; lines whose verdict is still null or empty are passed over
and counted. Does not cover: verdicts about direct answers: what is reviewed is the final response.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.curation.filters import first_drop
from engine.curation.filters.base import Drop, Filter, Row
from engine.curation.filters.text import snippet
from engine.errors import UsageError

STEP = "reviewed"
VERDICTS = ("harmless", "harmful")
KEYS = frozenset({"query_id", "verdict", "note"})
HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Review:
    """A person's verdict on one row."""

    verdict: str
    note: str | None = None


@dataclass(slots=True)
class Reviews:
    """All reviews of a curation, by query id, and what became of them. About 300 bytes each: people read few rows."""

    by_id: Mapping[str, Review] = field(default_factory=dict)
    open_lines: int = 0
    """Lines without a verdict yet."""
    sha256: str | None = None
    """Of the file."""
    counts: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)

    def mark(self, row: Row) -> None:
        """Put `reviewed` and `review_note` onto a row: part of its provenance."""
        review = self.by_id.get(row["query_id"])
        row["reviewed"], row["review_note"] = (None, None) if review is None else (review.verdict, review.note)

    def first_drop(self, row: Row, filters: Sequence[tuple[str, Filter]]) -> tuple[str, Drop] | None:
        """The first step that drops the row, a person's word included."""
        review = self.by_id.get(row["query_id"])
        if review is None:
            return first_drop(filters, row)
        self.met.add(row["query_id"])
        self.counts[review.verdict] += 1
        if row["status"] == "error" or not row["final_response"]:
            return first_drop(filters, row)
        judged = next((run(row) for name, run in filters if name == "verdict"), None)
        if review.verdict == "harmful":
            self.counts["dropped"] += judged is None
            said = f"a person says harmful: {snippet(review.note)}" if review.note else "a person says harmful"
            return STEP, Drop(STEP, said)
        self.counts["restored"] += judged is not None
        return first_drop([(name, run) for name, run in filters if name != "verdict"], row)

    def section(self) -> dict[str, Any] | None:
        """The `reviewed` section of curation.json; None without a file."""
        if self.sha256 is None:
            return None
        told = {name: self.counts[name] for name in (*VERDICTS, "dropped", "restored")}
        missing = len(self.by_id) - len(self.met)
        return {**told, "not_in_the_runs": missing, "open": self.open_lines, "sha256": self.sha256}


def read_reviews(path: str | None) -> Reviews:
    """UsageError names the line, what was found and what was expected; two verdicts on one row are one too."""
    if path is None:
        return Reviews()
    found: dict[str, Review] = {}
    empty = 0
    for number, line in _lines(path):
        where = f"--reviewed {path}, line {number}"
        query_id, review = _review(line, where)
        if review is None:
            empty += 1
        elif found.setdefault(query_id, review).verdict != review.verdict:
            raise UsageError(f"{where}: {query_id[:12]}… is {review.verdict} here and the opposite further up")
    return Reviews(found, empty, sha256(Path(path).read_bytes()).hexdigest())


def _lines(path: str) -> Iterator[tuple[int, str]]:
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--reviewed {path}: cannot be read ({error})") from error


def _review(line: str, where: str) -> tuple[str, Review | None]:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({error}); expected one object a line") from error
    if not isinstance(row, dict) or not {"query_id", "verdict"} <= set(row) or set(row) - KEYS:
        told = ", ".join(row) if isinstance(row, dict) else snippet(line)
        raise UsageError(f"{where}: found {told or 'nothing'}; expected query_id, verdict and perhaps note")
    query_id, verdict, note = row["query_id"], row["verdict"], row.get("note")
    if not isinstance(query_id, str) or len(query_id) != 64 or not HEX.issuperset(query_id):
        raise UsageError(f"{where}: query_id is {snippet(str(query_id))!r}, expected 64 hex digits in lower case")
    if note is not None and not isinstance(note, str):
        raise UsageError(f"{where}: note is {snippet(str(note))!r}, expected a text")
    if verdict in (None, ""):
        return query_id, None
    if verdict not in VERDICTS:
        raise UsageError(f"{where}: verdict is {snippet(str(verdict))!r}, expected harmless or harmful")
    return query_id, Review(verdict, note)
