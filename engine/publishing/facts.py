"""What the card says: figures and names from the seals, escaped for Markdown. No text of models or queries is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine.config import PublishConfig
from engine.curation.reading import Run
from engine.evaluation.harmless import SUBSETS, HarmlessTable
from engine.lineage import read_lineage
from engine.publishing.data import Written
from engine.publishing.licences import terms
from engine.publishing.source import Source
from engine.report import sections
from engine.report.collect import observe
from engine.report.write import threshold_of
from engine.version import version

NOTHING = "–"
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~$])")
LONGEST = 80


class Category(NamedTuple):
    """One line of the per-category table; rates as text."""

    name: str
    read: str
    kept: str
    direct: str
    final: str


def md(value: object) -> str:
    """Any text as plain words of a Markdown table: one line, nothing of it is markup."""
    text = " ".join(str(value).split())
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return MARKDOWN.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def public_name(name: str) -> str:
    """A model's or source's name without the folders of the machine that it lay on."""
    is_path = name.startswith(("/", "~", ".")) or Path(name).expanduser().exists()
    return f"{Path(name).name} (a local folder)" if is_path else name


def card_facts(source: Source, written: Written, config: PublishConfig, repo: str) -> dict[str, Any]:
    """The variables of templates/dataset.md."""
    found = sections.read(source.document, source.curated.store.path("curation.json"))
    threshold = threshold_of(source.runs)
    rates = observe(source.runs, set(), threshold).rates
    manifests = [run.manifest for run in source.runs]
    counts = source.document["counts"]
    return {
        "repo": repo,
        "name": repo.rpartition("/")[2],
        "table": written.form.table,
        "hydrate": written.form.hydrate,
        "licence_ok": config.licence_ok,
        "rows": written.rows,
        "total": sum(written.rows.values()),
        "pictures": len(written.pictures),
        "counts": counts,
        "scripted": source.scripted,
        "partial": source.partial,
        "ecso": any(m["config"].get("strategy") == "ecso" for m in manifests),
        "strategies": _distinct(
            f"{m['config'].get('strategy')}, preset {m['config'].get('preset')}" for m in manifests
        ),
        "models": _distinct(_model(each) for m in manifests for each in m["models"]),
        "prompts": _distinct(m["fingerprint_fields"].get("prompt_set_sha256") or "not recorded" for m in manifests),
        "judge": _judge(source.document),
        "threshold": f"{threshold:g}",
        "calibration": _calibration(manifests),
        "steps": [(md(step.name), step.rows_in, step.dropped, step.rows_out) for step in found.funnel.steps]
        if found.funnel
        else [],
        "categories": _categories(found, rates),
        "rates_judge": md(rates.judge) if rates else None,
        "rates_all": (str(rates.total.direct), str(rates.total.final)) if rates else None,
        "cues": [(each.when, each.auc, each.n) for each in found.cues or [] if each.auc is not None],
        "cues_note": md(found.cues_note) if found.cues_note else "not computed",
        "leakage": _leakage(found),
        "duplicates": found.duplicates.total if found.duplicates else None,
        "terms": terms(str(m["config"].get("queries")) for m in manifests),
        "runs": [_run(run) for run in source.runs],
        "lineage": _lineage(source),
        "curation": source.curated.sha256,
        "version": version(),
        "limits": _limits(source, written, found, rates),
        "share": config.validation_share,
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return [md(value) for value in dict.fromkeys(values)]


def _model(model: Mapping[str, Any]) -> str:
    return f"{public_name(str(model['name']))} at {model.get('revision') or 'no revision'} ({model['role']})"


def _judge(document: Mapping[str, Any]) -> str:
    asked = document["config"].get("annotations") or []
    further = f"; further judges heard in curation: {', '.join(md(each) for each in asked)}" if asked else ""
    return f"the model that answered judges its own answers{further}"


def _calibration(manifests: Sequence[Mapping[str, Any]]) -> str:
    found = [m["fingerprint_fields"].get("calibration") for m in manifests]
    named = _distinct(_digest(each) for each in found if each)
    return ", ".join(named) if named else "none: p(harmful) is the model's own, uncalibrated"


def _digest(calibration: object) -> str:
    if not isinstance(calibration, Mapping):
        return str(calibration)
    curve, band = calibration.get("curve"), calibration.get("abstain")
    parts = [str(curve["method"])] if isinstance(curve, Mapping) and "method" in curve else ["fitted"]
    parts.append(f"threshold {calibration.get('threshold')}")
    return ", ".join(parts + ([f"undecided from {band[0]} to {band[1]}"] if band else ["no abstain band"]))


def _categories(found: sections.Sections, rates: HarmlessTable | None) -> list[Category]:
    """The funnel's groups with their rates; then the rates of rows without a category, by what is known of them."""
    by_name = {line.category: line for line in rates.lines} if rates else {}
    made = []
    for group in found.funnel.categories if found.funnel else []:
        line = by_name.pop(group.name, None)
        direct, final = (str(line.direct), str(line.final)) if line else (NOTHING, NOTHING)
        made.append(Category(md(group.name), f"{group.rows[0]:,}", f"{group.rows[-1]:,}", direct, final))
    shown = [line for name, line in by_name.items() if name in SUBSETS.values()]
    return made + [Category(md(each.category), NOTHING, NOTHING, str(each.direct), str(each.final)) for each in shown]


def _leakage(found: sections.Sections) -> str:
    if found.leakage is None:
        return "not checked: no index of a benchmark was given"
    names = ", ".join(md(name) for name in found.leakage.indexes)
    what = {"drop": "left out", "mark": "marked in `leaked_from`"}.get(found.leakage.action, found.leakage.action)
    return f"{found.leakage.matched:,} rows matched {names} and were {what}"


def _run(run: Run) -> dict[str, str]:
    manifest = run.manifest
    return {
        "run_id": md(manifest["run_id"]),
        "fingerprint": manifest["fingerprint"],
        "sealed": str(manifest["finished_at"])[:10],
        "version": md(manifest["engine_version"]),
        "source": md(public_name(str(manifest["config"].get("queries")))),
        "status": manifest["status"],
    }


def _lineage(source: Source) -> list[dict[str, Any]]:
    """The versions of a set that grows, as far as they were curated; nothing for a single run."""
    document = read_lineage(source.curated.store.url)
    curated = {run.run_id for run in source.runs}
    return [each for each in document["versions"] if each["run_id"] in curated] if document else []


def _limits(source: Source, written: Written, found: sections.Sections, rates: HarmlessTable | None) -> list[str]:
    """What a reader must know, the gravest first."""
    manifests = [run.manifest for run in source.runs]
    limits = []
    if source.scripted:
        limits.append("**No model answered: a script did. This is a test of the pipeline, not a data set.**")
    if source.partial:
        limits.append("The run was not complete when this was made: rows of its source are missing.")
    if written.form.table == "preference":
        limits.append(
            "Rejected answers may be harmful text, written by the model before its answer was replaced. They are here "
            "to be trained away from, never towards; rows say so in `contains\\_harmful`."
        )
    if any(m["config"].get("strategy") == "ecso" and m["config"].get("preset") == "paper" for m in manifests):
        limits.append("Final answers were not judged again (preset `paper`): `final\\_verdict` says unchecked.")
    limits.append(
        "Answers are judged by a model, not by people: harmful answers may have passed, and harmless ones been refused "
        f"(rows with an unknown verdict are never published; threshold {threshold_of(source.runs):g})."
    )
    if rates is not None and "self-judged" in rates.judge:
        limits.append("The harmless rates above are the model's judgement of itself, and flatter it.")
    if found.leakage is None:
        limits.append("Nothing was compared with benchmarks: do not evaluate on a benchmark that shares its source.")
    limits.append(
        f"Openers of queries may give the label away{_auc(found)}: a model can learn to refuse by first words. See the "
        "cue AUC above (0.5: nothing to learn from them)."
    )
    limits.append(
        "One language model's style, the language and culture of its sources, and no dialogue of several turns."
    )
    return limits


def _auc(found: sections.Sections) -> str:
    audits = [each.auc for each in found.cues or [] if each.auc is not None]
    return f" (AUC {audits[-1]:.2f})" if audits else ""
