"""scores.json: every figure of an evaluation with what it rests on (judge, prompt, rows, interval, failures)."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from engine.config import EvaluateConfig
from engine.errors import OutputError, UsageError
from engine.evaluation import intervals
from engine.evaluation.agreement import Agreement, agreements
from engine.evaluation.answers import Row
from engine.evaluation.benchmarks import BENCHMARKS
from engine.evaluation.benchmarks.base import Benchmark, Metric
from engine.evaluation.benchmarks.scoring import judge_kind
from engine.evaluation.judges_asked import JudgeAsked
from engine.evaluation.opinions import Kind
from engine.evaluation.overview import overview
from engine.evaluation.paired import mcnemar
from engine.evaluation.planning import Entry
from engine.evaluation.turns import QUESTIONS, Turn, paired_rows, turns
from engine.journal.store import Store
from engine.judges.files import Key
from engine.registry import facts_of
from engine.version import version
from schemas import SchemaError, check

NAME = "scores.json"
SCHEMA_VERSION = 1
WILSON, PRICE_BONETT, BOOTSTRAP = "wilson", "price_bonett", "bootstrap"


@dataclass(frozen=True, slots=True)
class JudgeUsed:
    """Who judged one run. `key` names the annotations (None: nothing was asked); `own`: the transcript's verdict goes
    first; `same_model`: the judge is the model that answered; `tells`: what a judge from outside declares."""

    label: str
    judge: str
    version: str
    prompt_sha256: str
    same_model: bool
    model: str | None = None
    own: bool = False
    key: Key | None = None
    tells: Kind | None = None


@dataclass(frozen=True, slots=True)
class RunScored:
    """One sealed and judged run, read."""

    name: str
    benchmark: str
    part: str
    strategy: str
    path: str
    manifest: Mapping[str, Any]
    judges: tuple[JudgeUsed, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """One benchmark with one strategy: all its parts together."""

    benchmark: str
    strategy: str
    kind: str
    rows: tuple[Row, ...]
    judges: tuple[JudgeUsed, ...]
    metrics: tuple[Metric, ...]
    exact: frozenset[intervals.Name]
    """Metrics whose interval is the scorer's own; the others were resampled."""
    agreement: tuple[Agreement, ...]


def score(benchmark: Benchmark, label: str, strategy: str, runs: Sequence[RunScored]) -> Scored:
    """All metrics of one benchmark and strategy, each with an interval."""
    rows = tuple(row for run in runs for row in run.rows)
    answers = [row.answer for row in rows]
    metrics = benchmark.score(answers)
    names = [intervals.name_of(metric) for metric in metrics]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OutputError(f"benchmark {label}: its scorer gives {tuple(twice)} twice")
    exact = frozenset(intervals.name_of(metric) for metric in metrics if metric.low is not None)
    filled = intervals.fill(answers, metrics, benchmark.score)
    judges = {judge.label: judge for run in runs for judge in run.judges}
    return Scored(
        label, strategy, benchmark.kind, rows, tuple(judges.values()), tuple(filled), exact, tuple(agreements(answers))
    )


def document(
    config: EvaluateConfig,
    entries: Sequence[Entry],
    runs: Sequence[RunScored],
    scored: Sequence[Scored],
    skipped: Sequence[str] = (),
) -> dict[str, Any]:
    """The whole of scores.json. `skipped`: why strategies of `--strategy all` are not there."""
    model = runs[0].manifest["models"][0]
    return {
        "kind": "scores",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "name": config.name or (f"{model['name']}+{_tail(config.adapter)}" if config.adapter else model["name"]),
        "model": {"name": model["name"], "revision": model["revision"], "adapter": config.adapter},
        "scripted": any(run.manifest["scripted"] for run in runs),
        "status": "complete" if all(run.manifest["status"] == "complete" for run in runs) else "partial",
        "config": plain(asdict(config)),
        "benchmarks": [_entry(entry) for entry in entries],
        "runs": [_run(run) for run in runs],
        "metrics": [metric for each in scored for metric in _metrics(each)],
        "agreement": [line for each in scored for line in _agreement(each)],
        "flips": flips(scored),
        "strategies": plain(overview(entries, runs, scored)),
        "notes": [*unmeasured(scored), *skipped],
    }


def unmeasured(scored: Sequence[Scored]) -> list[str]:
    """Benchmarks with safe queries of which no judge says how many were refused: a figure that is missed unseen."""
    found: dict[str, list[str]] = {}
    for each in scored:
        safe = [row.answer for row in each.rows if row.answer.label_safe]
        tells = any(judge_kind(judge.label, safe) == "refusals" for judge in each.judges)
        if each.kind != "utility" and safe and not tells:
            found[each.benchmark] = sorted(judge.label for judge in each.judges)
    return [
        f"{benchmark}: no over-refusal figure; {', '.join(judges) or 'no judge'} does not tell refusals from answers. "
        "Add --judge keywords"
        for benchmark, judges in found.items()
    ]


def _tail(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def plain(value: Any) -> Any:
    """As JSON has it: no NaN, no tuples, no functions."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | bool | None) else getattr(value, "__qualname__", str(value))


def _entry(entry: Entry) -> dict[str, Any]:
    stranger = facts_of("benchmarks", entry.given, BENCHMARKS)
    return {
        **({"from": stranger} if stranger else {}),
        "label": entry.label,
        "name": entry.given,
        "kind": entry.benchmark.kind,
        "note": entry.benchmark.source_note,
        "path": entry.path,
        "options": plain(dict(entry.options)),
        "parts": [part.name for part in entry.parts],
        "judges": [judge.label for judge in entry.judges],
    }


def _run(run: RunScored) -> dict[str, Any]:
    counts = run.manifest["counts"]
    ids = sorted(row.answer.query_id for row in run.rows)
    return {
        "name": run.name,
        "benchmark": run.benchmark,
        "part": run.part,
        "strategy": run.strategy,
        "path": run.path,
        "run_id": run.manifest["run_id"],
        "fingerprint": run.manifest["fingerprint"],
        "status": run.manifest["status"],
        "rows": len(run.rows),
        "ok": counts["ok"],
        "unresolved": counts["unresolved"],
        "errors": counts["error"],
        "duplicates": counts["duplicates"],
        "query_ids_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "judges": [_judge(judge) for judge in run.judges],
    }


def _judge(judge: JudgeUsed) -> dict[str, Any]:
    found = asdict(judge) | {"key": None if judge.key is None else asdict(judge.key)}
    if judge.tells is None:
        del found["tells"]
    return found


def _metrics(scored: Scored) -> list[dict[str, Any]]:
    by_label = {judge.label: judge for judge in scored.judges}
    found = []
    for metric in scored.metrics:
        judge = by_label.get(metric.judge or "")
        if metric.judge is not None and judge is None:
            raise OutputError(
                f"benchmark {scored.benchmark}: a metric names judge {metric.judge!r}, which nobody asked"
            )
        found.append(
            {
                "benchmark": scored.benchmark,
                "strategy": scored.strategy,
                **plain(asdict(metric)),
                "interval": _interval(metric, scored),
                "version": None if judge is None else judge.version,
                "prompt_sha256": None if judge is None else judge.prompt_sha256,
                "same_model": judge is not None and judge.same_model,
            }
        )
    return found


def _interval(metric: Metric, scored: Scored) -> str | None:
    """How the interval was made: the scorer's own is Wilson's for counted hits, else Price and Bonett's, of a
    mean of shares."""
    if metric.low is None:
        return None
    if intervals.name_of(metric) not in scored.exact:
        return BOOTSTRAP
    return WILSON if metric.hits is not None else PRICE_BONETT


def _agreement(scored: Scored) -> list[dict[str, Any]]:
    return [
        {"benchmark": scored.benchmark, "strategy": scored.strategy, **plain(each._asdict())}
        for each in scored.agreement
    ]


def flips(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Per benchmark, judge and question: rows that the first strategy got wrong and another right, and the reverse."""
    found = []
    for first, other in against_first(scored):
        if first.kind == "utility":
            continue
        for judge in [judge.label for judge in first.judges]:
            for question in QUESTIONS:
                told = turns(paired_rows(first.rows, other.rows), judge, question)
                if told:
                    found.append({"benchmark": first.benchmark, "judge": judge, **_flip(told, question, first, other)})
    return found


def _flip(told: Sequence[Turn], question: str, first: Scored, other: Scored) -> dict[str, Any]:
    fixed, broken = (sum((turn.before, turn.after) == way for turn in told) for way in ((False, True), (True, False)))
    return {
        "question": question,
        "before": first.strategy,
        "after": other.strategy,
        "n": len(told),
        "fixed": fixed,
        "broken": broken,
        "p": mcnemar(fixed, broken),
    }


def against_first(scored: Sequence[Scored]) -> list[tuple[Scored, Scored]]:
    """(the first strategy's, another's) of each benchmark."""
    first: dict[str, Scored] = {}
    found = []
    for each in scored:
        if each.benchmark in first:
            found.append((first[each.benchmark], each))
        else:
            first[each.benchmark] = each
    return found


def write(store: Store, found: Mapping[str, Any]) -> None:
    """Check and swap in. OutputError where it does not match its schema: a bug of ours."""
    try:
        check("scores", found)
    except SchemaError as error:
        raise OutputError(f"the scores do not match their schema: {error}") from error
    store.write(NAME, json.dumps(found, indent=1, ensure_ascii=False).encode())


def read(url: str) -> dict[str, Any]:
    """scores.json of a folder. UsageError where there is none, or another thing."""
    store = Store(url)
    try:
        found = json.loads(store.read(NAME))
        check("scores", found, where=store.path(NAME))
    except FileNotFoundError as error:
        raise UsageError(f"{url}: no {NAME} there; run evaluate with --out {url} first") from error
    except (ValueError, SchemaError) as error:
        raise UsageError(f"{store.path(NAME)}: damaged ({error}); run evaluate again") from error
    return dict(found)


__all__ = ["JudgeAsked", "JudgeUsed", "RunScored", "Scored", "document", "flips", "read", "score", "write"]
