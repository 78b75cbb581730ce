"""evaluation.html and comparison.html: the same page over one evaluation's strategies, or over two evaluations.

The rules of the house's report hold: nothing is fetched, pictures are blurred, and a text stays closed unless a judge
called it harmless or its source calls the query safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.curation.reading import Run
from engine.evaluation import compare, scores
from engine.evaluation.benchmarks.base import Metric
from engine.evaluation.examples import Pair, pairings, with_views
from engine.evaluation.panels import Panel, Sheet, panels, summary
from engine.evaluation.scores import RunScored, Scored
from engine.evaluation.sides import Side
from engine.evaluation.turns import paired_rows
from engine.journal.manifest import read_manifest
from engine.journal.store import Store

COLOURS = ("direct", "final", "third", "fourth")


def evaluation_page(document: Mapping[str, Any], runs: Sequence[RunScored], scored: Sequence[Scored]) -> bytes:
    """One evaluation: a series a strategy, pairs against the first."""
    strategies = list(dict.fromkeys(each.strategy for each in scored))
    sheets = [
        Sheet(
            entry["label"],
            entry["kind"],
            entry["note"],
            [_metrics(scored, entry["label"], strategy) for strategy in strategies],
        )
        for entry in document["benchmarks"]
    ]
    pairs = [
        Pair(
            first.benchmark,
            strategies.index(first.strategy),
            strategies.index(other.strategy),
            paired_rows(first.rows, other.rows),
            [judge.label for judge in first.judges],
        )
        for first, other in scores.against_first(scored)
        if first.kind != "utility"
    ]
    stores = [Run(Store(str(run.manifest["config"]["out"])), dict(run.manifest), "") for run in runs]
    judges = [(run["benchmark"], run["strategy"], judge) for run in document["runs"] for judge in run["judges"]]
    return _render(
        title=f"{document['name']} on {', '.join(entry['label'] for entry in document['benchmarks'])}",
        series=strategies,
        sheets=sheets,
        pairs=pairs,
        stores=stores,
        judges=judges,
        agreement=document["agreement"],
        notes=_notes([document]),
        facts=_facts([document]),
        differences=[],
        strategies=document["strategies"],
    )


def _metrics(scored: Sequence[Scored], benchmark: str, strategy: str) -> Sequence[Metric]:
    return next((each.metrics for each in scored if (each.benchmark, each.strategy) == (benchmark, strategy)), ())


def comparison_page(found: Sequence[compare.Compared]) -> bytes:
    """Two evaluations: a series for each side that was compared, over the rows that both have."""
    sides: dict[str, Side] = {}
    for side in [*(each.a for each in found), *(each.b for each in found)]:
        sides.setdefault(_label(side, found), side)
    series = list(sides)
    sheets = [_sheet(label, series, found) for label in dict.fromkeys(each.benchmark for each in found)]
    pairs = [
        Pair(
            each.benchmark,
            series.index(_label(each.a, found)),
            series.index(_label(each.b, found)),
            each.rows,
            [judge.label for judge in each.a.scored[each.benchmark].judges],
        )
        for each in found
        if each.kind != "utility"
    ]
    documents = list({id(side.document): side.document for side in sides.values()}.values())
    return _render(
        title=_title(found),
        series=series,
        sheets=sheets,
        pairs=pairs,
        stores=[run for side in {side.url: side for side in sides.values()}.values() for run in _stores(side)],
        judges=[(j[0], name, j[1]) for name, side in sides.items() for j in _judges(side)],
        agreement=[],
        notes=_notes(documents) + [f"{each.benchmark}: {note}" for each in found for note in each.notes] + _left(found),
        facts=_facts(documents),
        differences=found,
    )


def _title(found: Sequence[compare.Compared]) -> str:
    before, after = found[0].a, found[0].b
    if before.document["name"] == after.document["name"]:
        return f"{_label(before, found)} against {_label(after, found)}"
    return f"{before.document['name']} against {after.document['name']}"


def _label(side: Side, found: Sequence[compare.Compared]) -> str:
    """Model and strategy; the folder too where two evaluations call their models the same."""
    urls = {each.url for one in found for each in (one.a, one.b) if each.name == side.name}
    return side.name if len(urls) == 1 else f"{side.name} ({side.url.rstrip('/').rpartition('/')[2]})"


def _sheet(label: str, series: Sequence[str], found: Sequence[compare.Compared]) -> Sheet:
    mine = [each for each in found if each.benchmark == label]
    metrics: dict[str, Sequence[Metric]] = {}
    for each in mine:
        metrics.setdefault(_label(each.a, found), each.metrics[0])
        metrics.setdefault(_label(each.b, found), each.metrics[1])
    note = next(e["note"] for e in mine[0].a.document["benchmarks"] if e["label"] == label)
    return Sheet(label, mine[0].kind, note, [metrics.get(name, ()) for name in series])


def _stores(side: Side) -> list[Run]:
    found = []
    for run in side.document["runs"]:
        url = f"{side.url.rstrip('/')}/{run['path']}"
        manifest = read_manifest(url)
        if manifest is not None:
            found.append(Run(Store(url), manifest, ""))
    return found


def _judges(side: Side) -> list[tuple[str, Mapping[str, Any]]]:
    runs = [run for run in side.document["runs"] if run["strategy"] == side.strategy]
    return [(run["benchmark"], judge) for run in runs for judge in run["judges"]]


def _left(found: Sequence[compare.Compared]) -> list[str]:
    return [
        f"{each.benchmark}: {each.left_out:,} rows are on one side only, left out" for each in found if each.left_out
    ]


def _notes(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    if any(document["scripted"] for document in documents):
        found.append("Scripted run. No model wrote these answers: the figures mean nothing.")
    if any(document["status"] == "partial" for document in documents):
        found.append("Partial. Not every planned row was answered.")
    same = sorted(
        {
            judge["label"]
            for document in documents
            for run in document["runs"]
            for judge in run["judges"]
            if judge["same_model"]
        }
    )
    if same:
        found.append(
            f"Judged by itself. {', '.join(same)}: the judge is the model that answered. Models are lenient with "
            "themselves, so ask another one too."
        )
    return found + list(dict.fromkeys(note for document in documents for note in document.get("notes", ())))


def _facts(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for document in documents:
        model = document["model"]
        adapter = f" with adapter {model['adapter']}" if model["adapter"] else ""
        found.append(("Model", f"{model['name']} ({model['revision'] or 'no revision'}){adapter}"))
        found.append(("Scored", f"{document['created_at'].replace('T', ' ').replace('+00:00', ' UTC')}"))
        found += [("Run", f"{run['name']} · {run['run_id']} · {run['rows']:,} rows") for run in document["runs"]]
        found.append(("Engine", document["engine_version"]))
    return found


def _render(
    *,
    title: str,
    series: Sequence[str],
    sheets: Sequence[Sheet],
    pairs: Sequence[Pair],
    stores: Sequence[Run],
    judges: Sequence[tuple[str, str, Mapping[str, Any]]],
    agreement: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    facts: Sequence[tuple[str, str]],
    differences: Sequence[compare.Compared],
    strategies: Sequence[Mapping[str, Any]] = (),
) -> bytes:
    from engine.report.page import render

    labels = [name if len(name) < 60 else f"{name[:58]}…" for name in series]
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(series))]
    turned = [(pair.benchmark, found) for pair in pairs for found in pairings(pair, labels, colours)]
    found: list[Panel] = [panel for sheet in sheets for panel in panels(sheet)]
    return render(
        {
            "title": title,
            "series": list(zip(colours, labels, strict=True)),
            "sheets": list(sheets),
            "panels": found,
            "summary": [line for sheet in sheets for line in summary(sheet)],
            "pairings": with_views(turned, stores),
            "strategies": list(strategies),
            "judges": _distinct(judges),
            "agreement": list(agreement),
            "notes": list(notes),
            "facts": list(facts),
            "compared": [(each, [(line, compare.words(line)) for line in each.differences]) for each in differences],
        },
        "evaluation.html",
    )


def _distinct(judges: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[tuple[str, str, Mapping[str, Any]]]:
    found: dict[tuple[Any, ...], tuple[str, str, Mapping[str, Any]]] = {}
    for benchmark, strategy, judge in judges:
        found.setdefault((benchmark, strategy, judge["label"]), (benchmark, strategy, judge))
    return list(found.values())
