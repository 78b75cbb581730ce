"""One pass over the transcripts: rates, distributions, verdict flips, and which rows the page will show.

Only light columns are read (the steps are nine tenths of a transcript); the few rows that are shown in full are
fetched afterwards by their places. Memory does not grow with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.curation.reading import Run, open_table, transcripts
from engine.evaluation import harmless
from engine.journal.store import Store
from engine.report.sampling import Nearest, Place, Reservoir

Row = dict[str, Any]
BINS = 20
BATCH = 256
NEAR = 0.1
"""A p(harmful) this near to the threshold is called borderline."""
SHOWN = 10
"""Random rows, and as many borderline rows, that the page walks through."""
COLUMNS = [*harmless.COLUMNS, "run_id", "query_id", "status", "eyes_closed", "p_harmful", "final_p_harmful"]


@dataclass
class Seen:
    """What the pass found."""

    threshold: float
    rows: int = 0
    rates: harmless.HarmlessTable | None = None
    direct: list[int] = field(default_factory=lambda: [0] * BINS)
    final: list[int] = field(default_factory=lambda: [0] * BINS)
    near: int = 0
    flips: Counter[tuple[str, str]] = field(default_factory=Counter)
    finals: Counter[str] = field(default_factory=Counter)
    random: list[Place] = field(default_factory=list)
    borderline: list[Place] = field(default_factory=list)
    wanted: dict[str, Place] = field(default_factory=dict)


def bin_of(p: float) -> int:
    """The bin of a probability; 1.0 belongs to the last."""
    return min(BINS - 1, max(0, int(p * BINS)))


def observe(runs: Sequence[Run], wanted: set[str], threshold: float, seed: int = 0) -> Seen:
    """Read every transcript once. `wanted`: query ids whose first place is to be remembered."""
    seen = Seen(threshold)
    source, model = _judged(runs)
    columns = list(dict.fromkeys(COLUMNS))
    rows = (
        (Place(number, row), transcript)
        for number, run in enumerate(runs)
        for row, transcript in enumerate(_rows(run, columns))
    )
    seen.rates = harmless.harmless_table(_watch(seen, rows, wanted, seed), source, model)
    return seen


def _rows(run: Run, columns: list[str]) -> Iterator[Row]:
    for batch in transcripts(run.store, run.manifest, columns):
        yield from batch


def _judged(runs: Sequence[Run]) -> tuple[str, str]:
    """(source, model) for choosing the judge: a script anywhere spoils all, unlike sources share no judge of labels."""
    sources = {str(run.manifest["config"].get("queries")) for run in runs}
    models = {str(run.manifest["models"][0]["name"]) for run in runs}
    if any(run.manifest["scripted"] for run in runs):
        models = {"scripted"}
    return (sources.pop() if len(sources) == 1 else "several"), (models.pop() if len(models) == 1 else "several")


def _watch(seen: Seen, rows: Iterable[tuple[Place, Row]], wanted: set[str], seed: int) -> Iterator[Row]:
    random: Reservoir[Place] = Reservoir(SHOWN, seed)
    nearest: Nearest[Place] = Nearest(SHOWN)
    for place, row in rows:
        seen.rows += 1
        random.add(place)
        _count(seen, row)
        p = row["final_p_harmful"] if row["p_harmful"] is None else row["p_harmful"]
        if p is not None:
            nearest.add(abs(p - seen.threshold), place)
        if row["query_id"] in wanted:
            seen.wanted.setdefault(row["query_id"], place)
        yield row
    seen.random = sorted(random.items)
    seen.borderline = nearest.items


def _count(seen: Seen, row: Row) -> None:
    p, final = row["p_harmful"], row["final_p_harmful"]
    if p is not None:
        seen.direct[bin_of(p)] += 1
        seen.near += abs(p - seen.threshold) <= NEAR
    if final is not None:
        seen.final[bin_of(final)] += 1
    if row["status"] != "error":
        seen.finals[row["final_verdict"]] += 1
    if row["direct_verdict"] is not None and row["status"] != "error":
        seen.flips[row["direct_verdict"], row["final_verdict"]] += 1


def fetch(runs: Sequence[Run], places: Iterable[Place]) -> dict[Place, Row]:
    """The whole transcripts at these places; only their row groups are read, batch by batch."""
    found: dict[Place, Row] = {}
    wanted = set(places)
    for number, run in enumerate(runs):
        start = 0
        for file in run.files("transcripts"):
            mine = {place for place in wanted if place.run == number and 0 <= place.row - start < file["rows"]}
            if mine:
                found |= _from_file(run.store, file["path"], mine, start)
            start += file["rows"]
    return found


def _from_file(store: Store, path: str, places: set[Place], start: int) -> dict[Place, Row]:
    found: dict[Place, Row] = {}
    with open_table(store, path) as table:
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            mine = [place for place in places if start <= place.row < start + rows]
            if mine:
                found |= _from_group(table, group, mine, start)
            start += rows
    return found


def _from_group(table: Any, group: int, places: list[Place], start: int) -> dict[Place, Row]:
    found: dict[Place, Row] = {}
    for batch in table.iter_batches(BATCH, row_groups=[group], use_threads=False):
        for place in places:
            if start <= place.row < start + batch.num_rows:
                found[place] = batch.slice(place.row - start, 1).to_pylist()[0]
        start += batch.num_rows
    return found
