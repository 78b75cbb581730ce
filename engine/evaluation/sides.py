"""Evaluations read back from their folders: scores.json, and the rows of its runs with all opinions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError
from engine.evaluation import scores
from engine.evaluation.answers import Row, opinions, rows_of
from engine.evaluation.scores import JudgeUsed, Scored
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.judges.files import Key


@dataclass(frozen=True, slots=True)
class Side:
    """One evaluation with one strategy, as read from its folder."""

    url: str
    strategy: str
    document: Mapping[str, Any]
    scored: Mapping[str, Scored]
    """By the benchmark's label."""

    @property
    def name(self) -> str:
        return f"{self.document['name']} {self.strategy}"


def load(given: str) -> list[Side]:
    """The sides of a folder: one a strategy, or the one that `DIR@STRATEGY` names."""
    url, strategy = given, ""
    if not Store(given).exists(scores.NAME) and "@" in given:
        url, _, strategy = given.rpartition("@")
    document = scores.read(url)
    there = list(dict.fromkeys(run["strategy"] for run in document["runs"]))
    if strategy and strategy not in there:
        raise UsageError(f"{given}: no answers with strategy {strategy!r} there; found {', '.join(there)}")
    return [_side(url, each, document) for each in there if not strategy or each == strategy]


def _side(url: str, strategy: str, document: Mapping[str, Any]) -> Side:
    entries = {entry["label"]: entry for entry in document["benchmarks"]}
    scored: dict[str, Scored] = {}
    for label, entry in entries.items():
        runs = [run for run in document["runs"] if (run["benchmark"], run["strategy"]) == (label, strategy)]
        if not runs:
            continue
        rows = tuple(row for run in runs for row in _rows(url, run))
        judges = {judge["label"]: _judge(judge) for run in runs for judge in run["judges"]}
        scored[label] = Scored(label, strategy, entry["kind"], rows, tuple(judges.values()), (), frozenset(), ())
    return Side(url, strategy, document, scored)


def _judge(found: Mapping[str, Any]) -> JudgeUsed:
    return JudgeUsed(**{**found, "key": None if found["key"] is None else Key(**found["key"])})


def _rows(url: str, run: Mapping[str, Any]) -> list[Row]:
    """The rows of one run, from its transcripts and annotations. UsageError where they are not those scored."""
    folder = f"{url.rstrip('/')}/{run['path']}"
    manifest = read_manifest(folder)
    if manifest is None:
        raise UsageError(f"{folder}: no sealed run there; the rows of {url} are needed to compare it")
    if manifest["run_id"] != run["run_id"]:
        raise UsageError(f"{folder}: run {manifest['run_id']}, scored was {run['run_id']}; run evaluate again")
    store = Store(folder)
    judges = [_judge(judge) for judge in run["judges"]]
    said = {judge.label: {} if judge.key is None else opinions(store, judge.key) for judge in judges}
    own = next((each.label for each in judges if each.own), None)
    return rows_of(store, manifest, run["part"], said, own=own, tells={each.label: each.tells for each in judges})


def pairs(before: Sequence[Side], after: Sequence[Side], first: str, second: str) -> list[tuple[Side, Side]]:
    if 1 in (len(before), len(after)):  # direct and ECSO, each against a tuned model's direct answers, say
        return [(a, b) for a in before for b in after]
    found = [(a, b) for a in before for b in after if a.strategy == b.strategy]
    if found:
        return found
    names = (", ".join(side.strategy for side in sides) for sides in (before, after))
    raise UsageError(f"{first} has {next(names)}, {second} has {next(names)}: name the two with DIR@STRATEGY")
