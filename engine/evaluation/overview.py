"""One line a strategy: the figures that stand for each benchmark, and what an answer costs (calls, tokens, time)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.curation.reading import transcripts
from engine.evaluation.benchmarks.base import Metric
from engine.evaluation.panels import Headline, Sheet, summary
from engine.journal.store import Store

if TYPE_CHECKING:
    from rich.table import Table

    from engine.evaluation.planning import Entry
    from engine.evaluation.scores import RunScored, Scored

NOTHING = "–"
COSTS = (
    ("calls_per_row", "calls/row", ".1f"),
    ("tokens_per_row", "tokens/row", ",.0f"),
    ("rows_per_s", "rows/s", ".1f"),
)
"""(key, words, format)"""


def overview(entries: Sequence[Entry], runs: Sequence[RunScored], scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """For scores.json, in the order of the strategies."""
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    metrics = {(each.benchmark, each.strategy): each.metrics for each in scored}
    lines: list[Headline] = []
    for entry in entries:
        series: list[Sequence[Metric]] = [metrics.get((entry.label, strategy), ()) for strategy in strategies]
        lines += summary(Sheet(entry.label, entry.benchmark.kind, "", series))
    return [
        {
            "strategy": strategy,
            **costs([run for run in runs if run.strategy == strategy]),
            "figures": [_figure(line, place) for line in lines],
        }
        for place, strategy in enumerate(strategies)
    ]


def costs(runs: Iterable[RunScored]) -> dict[str, Any]:
    """Calls and tokens as the transcripts have them, helper models' included. Seconds from the first engine's start to
    the last row, of the rows of each run's last session (a resumed run has several)."""
    found: dict[str, Any] = dict.fromkeys(("rows", "calls", "prompt_tokens", "completion_tokens"), 0)
    answered, seconds = 0, 0.0
    for run in runs:
        store, stats = Store(str(run.manifest["config"]["out"])), run.manifest.get("stats") or {}
        for batch in transcripts(store, dict(run.manifest), ["steps"]):
            for row in batch:
                found["rows"] += 1
                found["calls"] += len(row["steps"])
                for name in ("prompt_tokens", "completion_tokens"):
                    found[name] += sum(step[name] or 0 for step in row["steps"])
        if stats.get("answering_s"):
            answered += stats["answered"]
            seconds += stats["answering_s"]
    rows = found["rows"]
    tokens = found["prompt_tokens"] + found["completion_tokens"]
    return {
        **found,
        "calls_per_row": found["calls"] / rows if rows else None,
        "tokens_per_row": tokens / rows if rows else None,
        "rows_per_s": answered / seconds if seconds else None,
    }


def _figure(line: Headline, place: int) -> dict[str, Any]:
    cell = line.cells[place]
    known = cell is not None and cell.n
    return {
        "benchmark": line.benchmark,
        "words": line.words,
        "judge": line.judge,
        "unit": line.unit,
        "better": line.better,
        "value": cell.value if cell is not None and known else None,
        "n": cell.n if cell is not None else 0,
    }


def table(document: Mapping[str, Any]) -> Table | None:
    """For a terminal; None where there is only one strategy, or a file from before there were such lines."""
    from rich.table import Table

    found = document.get("strategies", ())
    if len(found) < 2:
        return None
    made = Table(
        title=f"strategies, {document['name']}",
        caption="\n".join(notes(document)),
        title_justify="left",
        caption_justify="left",
    )
    made.add_column("strategy", no_wrap=True)
    for figure in found[0]["figures"]:
        made.add_column(heading(figure), justify="right")
    for _, words, _ in COSTS:
        made.add_column(words, justify="right", no_wrap=True)
    for line in found:
        made.add_row(line["strategy"], *(cell(figure) for figure in line["figures"]), *cost_cells(line))
    return made


def heading(figure: Mapping[str, Any]) -> str:
    """`vlguard: refusals, safe_safes ↓, by keywords`"""
    judge = f", by {figure['judge']}" if figure["judge"] else ""
    return f"{figure['benchmark']}: {figure['words']} {'↓' if figure['better'] == 'down' else '↑'}{judge}"


def cell(figure: Mapping[str, Any]) -> str:
    """Per cent for shares, points as they are."""
    if figure["value"] is None:
        return NOTHING
    return f"{(100 if figure['unit'] == 'share' else 1) * figure['value']:.1f}"


def cost_cells(line: Mapping[str, Any]) -> list[str]:
    return [NOTHING if line[key] is None else format(line[key], form) for key, _, form in COSTS]


def notes(document: Mapping[str, Any]) -> list[str]:
    """What a reader of the lines must know."""
    known = (
        "shares in %; calls and tokens are those of all models asked; rows/s of this machine, once an engine was ready"
    )
    skipped = [note for note in document.get("notes", ()) if note.startswith("--strategy ")]
    return [known, *skipped, *(["a scripted run: these figures mean nothing"] if document["scripted"] else [])]
