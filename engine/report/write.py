"""From a curated folder to its report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from engine.curation.reading import Run
from engine.errors import UsageError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.lineage import expand, is_lineage
from engine.report import sections, tables
from engine.report.collect import NEAR, Seen, fetch, observe
from engine.report.rows import PICTURES, Row, RowView, answer_warning, cut, row_view
from engine.report.sampling import Place
from engine.report.thumbs import thumbnails

NAME = "report.html"
EXAMPLE = 400
"""Characters of one text of a rejected example."""
VERDICTS = ("harmful", "unknown", "unchecked", "harmless")


def write_report(curated: str, runs: Sequence[str] = (), out: str | None = None) -> str:
    """Write CURATED/report.html (or the file `out`) and return its path.

    `runs`: folders of the sealed runs that were curated; by default the curated folder itself. Without them the page
    holds what curation.json says. The same input gives the same bytes. Raises UsageError where nothing was curated, a
    run is another one, or curation.json is damaged; OutputError where the page cannot be written.
    """
    store = Store(curated)
    curation = _curation(store)
    found, notes = _runs(store, curation, runs)
    page = _render(store, curation, found, notes)
    target, name = _target(store, out)
    target.write(name, page)
    return target.path(name) if target.is_local else f"{target.url.rstrip('/')}/{name}"


def _target(store: Store, out: str | None) -> tuple[Store, str]:
    if out is None:
        return store, NAME
    folder, _, name = out.rpartition("/")
    if not name:
        raise UsageError(f"--out {out}: a file is expected, not a folder")
    return Store(folder or ("/" if out.startswith("/") else ".")), name


def _curation(store: Store) -> dict[str, Any]:
    path = store.path("curation.json")
    try:
        found = json.loads(store.read("curation.json"))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: not there; curate the run first (python -m engine curate {store.url})") from error
    except ValueError as error:
        raise UsageError(f"{path}: damaged, no JSON ({error}); curate the run again") from error
    if not isinstance(found, dict) or not {"counts", "reasons", "runs", "files"} <= found.keys():
        raise UsageError(f"{path}: no document of curate (counts, reasons, runs and files are expected)")
    return found


def versions_of(store: Store) -> list[str]:
    """The versions that a lineage's root was curated from; nothing for any other folder."""
    return expand([store.url]) if is_lineage(store.url) else []


def _runs(store: Store, curation: Mapping[str, Any], runs: Sequence[str]) -> tuple[list[Run], list[str]]:
    """The runs at hand, and notes where they are not the ones that were curated as they are now."""
    sealed = {each["run_id"]: each for each in curation["runs"]}
    found, notes = [], []
    for url in expand(runs) or ([store.url] if store.exists("manifest.json") else versions_of(store)):
        manifest = read_manifest(url)
        if manifest is None:
            raise UsageError(f"{url}: no manifest.json there: not a sealed run")
        if manifest["run_id"] not in sealed:
            raise UsageError(f"{url}: run {manifest['run_id']} is not among those curated: {', '.join(sealed)}")
        digest = sha256(Store(url).read("manifest.json")).hexdigest()
        found.append(Run(Store(url), manifest, digest))
        if digest != sealed[manifest["run_id"]]["manifest_sha256"]:
            notes.append(f"Run {manifest['run_id']} was sealed again after it was curated: figures of both may differ.")
    missing = len(sealed) - len({run.run_id for run in found})
    if missing:
        notes.append(
            f"The transcripts of {missing} of {len(sealed)} runs were not at hand: what is read from them is left out. "
            "Pass their folders with --run."
        )
    return found, notes


def _render(store: Store, curation: Mapping[str, Any], runs: Sequence[Run], notes: list[str]) -> bytes:
    from engine.report.page import render

    threshold = threshold_of(runs)
    read = sections.read(curation, store.path("curation.json"))
    clusters = read.duplicates.clusters if read.duplicates else []
    wanted = {each.kept for each in clusters} | {row.query_id for each in clusters for row in each.dropped}
    seen = observe(runs, wanted, threshold) if runs else None
    places = [*seen.random, *seen.borderline, *seen.wanted.values()] if seen else []
    whole = fetch(runs, places)
    after = tables.outcomes(store, curation, [(row["run_id"], row["query_id"]) for row in whole.values()])
    shown = [sha for place in places for sha in whole[place]["picture_sha256"][:PICTURES]]
    thumbs = thumbnails(runs, shown)

    def view(place: Place) -> RowView:
        row = whole[place]
        return row_view(row, thumbs, after.of[row["run_id"], row["query_id"]])

    return render(
        {
            **overview(curation, runs, notes),
            **seen_view(seen),
            "sections": read,
            # Kept answers are harmless or unchecked: shown openly only where nobody left them unchecked.
            "answers_warning": None if seen and not seen.finals["unchecked"] else answer_warning("unchecked"),
            "reasons": _reasons(curation, after),
            "random_rows": [view(place) for place in seen.random] if seen else None,
            "borderline_rows": [view(place) for place in seen.borderline] if seen else None,
            "by_id": {query_id: view(place) for query_id, place in seen.wanted.items()} if seen else {},
        }
    )


def threshold_of(runs: Sequence[Run]) -> float:
    """The judge's threshold of the (first) run; the engine's default where the manifest names none."""
    from engine.strategies.base import StrategyOptions

    for run in runs:
        found = run.manifest["fingerprint_fields"].get("threshold")
        if found is not None:
            return float(found)
    return StrategyOptions().threshold


def overview(curation: Mapping[str, Any], runs: Sequence[Run], notes: Sequence[str]) -> dict[str, Any]:
    """What the head and the foot of the page say."""
    manifests = [run.manifest for run in runs]
    strategies = sorted({str(each["config"].get("strategy") or "final") for each in manifests})
    return {
        "counts": curation["counts"],
        "curation": curation,
        "manifests": manifests,
        "notes": list(notes),
        "partial": any(each["status"] == "partial" for each in curation["runs"]),
        "scripted": any(each["scripted"] for each in manifests),
        "models": sorted({model["name"] for each in manifests for model in each["models"]}),
        "sources": sorted({str(each["config"].get("queries")) for each in manifests}),
        "strategy": strategies[0] if len(strategies) == 1 else "final",
        "facts": [_facts(each) for each in manifests],
    }


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = manifest["config"]
    models = ", ".join(f"{each['name']} ({each['revision'] or 'no revision'})" for each in manifest["models"])
    stats = manifest.get("stats") or {}
    facts = [
        ("Run", manifest["run_id"]),
        ("Status", manifest["status"]),
        ("Model", models),
        ("Strategy", f"{config.get('strategy')}, preset {config.get('preset')}"),
        ("Queries", str(config.get("queries"))),
        ("Finished", manifest["finished_at"].replace("T", " ").replace("+00:00", " UTC")),
        ("Model calls", f"{stats['calls']:,}" if isinstance(stats.get("calls"), int) else None),
        ("Fingerprint", manifest["fingerprint"]),
        ("Engine", manifest["engine_version"]),
    ]
    return [(name, value) for name, value in facts if value]


def seen_view(seen: Seen | None) -> dict[str, Any]:
    """What the pass over the transcripts found, as the template wants it."""
    from engine.report.flow import Ribbon

    if seen is None:
        return {"seen": None, "rates": None, "ribbons": [], "matrix": [], "near": NEAR, "order": [], "more_lines": 0}
    ribbons = [
        Ribbon(left, right, seen.flips[left, right])
        for left in VERDICTS
        for right in VERDICTS
        if seen.flips[left, right]
    ]
    rates, more = seen.rates, 0
    if rates is not None:
        lines = sorted(rates.lines, key=lambda line: (-line.direct.n, line.category))
        more = max(0, len(lines) - sections.GROUPS)
        rates = rates._replace(lines=lines[: sections.GROUPS])
    order = [word for word in VERDICTS if any(word in ribbon[:2] for ribbon in ribbons)]
    return {"seen": seen, "rates": rates, "ribbons": ribbons, "near": NEAR, "order": order, "more_lines": more}


def _reasons(curation: Mapping[str, Any], after: tables.Outcomes) -> list[dict[str, Any]]:
    """Reasons to reject, most frequent first, each with its examples (closed: rejected text may be anything)."""
    reasons = sorted(curation["reasons"].items(), key=lambda item: (-int(item[1]), item[0]))
    return [
        {
            "name": sections.name_of(reason),
            "count": int(count),
            "examples": [_example(row) for row in after.examples.get(reason, [])],
        }
        for reason, count in reasons
    ]


def _example(row: Row) -> dict[str, Any]:
    return {
        "query_id": row["query_id"],
        "category": sections.name_of(row["category"]),
        "evidence": cut(row["evidence"], limit=EXAMPLE) if row["evidence"] else None,
        "query": cut(row["query"], limit=EXAMPLE),
        "response": cut(row["response"], limit=EXAMPLE) if row["response"] else None,
    }
