"""From `evaluate`'s flags to runs and judges: all is resolved and checked before Ray or a model is touched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from engine.config import EvaluateConfig, GenerateConfig
from engine.errors import UsageError
from engine.evaluation import benchmarks
from engine.evaluation.benchmarks.base import Benchmark, Part
from engine.evaluation.judges_asked import (
    JUDGE_FLAGS,
    OF_ONE_MODEL,
    WITHOUT_MODEL,
    JudgeAsked,
    by_name,
    judge_options,
    judges_of,
    needs_model,
)
from engine.evaluation.opinions import Kind
from engine.helpers import ROLES
from engine.judges import FILE_JUDGES, make
from engine.judges.planning import AnnotateConfig, options_of
from engine.strategies import STRATEGIES, StrategyOptions, create, helpers_of

ENTRY = re.compile(r"(?P<name>[A-Za-z_][\w.]*(?::\w+)?)(?:@(?P<label>[\w-]+))?(?:=(?P<path>.+))?", re.DOTALL)
ALL = "all"
UNSAFE_NAME = re.compile(r"[^\w.@-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One benchmark as it was asked for. `label` names it in folders and scores: its name, or `NAME@LABEL`."""

    label: str
    given: str
    path: str | None
    benchmark: Benchmark
    options: Mapping[str, Any]
    parts: tuple[Part, ...]
    judges: tuple[JudgeAsked, ...]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One generate run: a part of a benchmark, answered with one strategy."""

    entry: Entry
    part: Part
    strategy: str
    config: GenerateConfig

    @property
    def name(self) -> str:
        return run_name(self.entry.label, self.part.name, self.strategy)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that is to be done."""

    config: EvaluateConfig
    out: str
    entries: tuple[Entry, ...]
    runs: tuple[PlannedRun, ...]
    skipped: tuple[str, ...] = ()
    """Strategies of `--strategy all` that are left out, each with its reason."""


def plan(config: EvaluateConfig) -> Evaluation:
    """Raises UsageError for an unknown benchmark, option or judge, a judge without its model, and a malformed file."""
    if not config.benchmark:
        raise UsageError(f"evaluate needs --benchmark NAME[=PATH]; there are {', '.join(benchmarks.BENCHMARKS)}")
    chosen, skipped = _strategies(config)
    config = replace(config, strategy=chosen)
    _distinct("--strategy", config.strategy)
    options = by_name("--benchmark-option", config.benchmark_option)
    entries = tuple(_entry(config, given, options) for given in config.benchmark)
    _distinct("--benchmark (name one by NAME@LABEL=PATH)", [entry.label for entry in entries])
    unused = set(options) - {key for entry in entries for key in (entry.label, entry.benchmark.name)}
    if unused:
        raise UsageError(f"--benchmark-option {sorted(unused)[0]}.…: no such --benchmark was asked for")
    judges = [judge for entry in entries for judge in entry.judges]
    unused = set(judge_options(config)) - {name for judge in judges for name in (judge.name, judge.own_name)}
    if unused:
        raise UsageError(f"--judge-option {sorted(unused)[0]}.…: no such --judge was asked for")
    out = out_of(config)
    runs = tuple(
        PlannedRun(entry, part, strategy, _generate(config, out, entry, part, strategy))
        for entry in entries
        for part in entry.parts
        for strategy in config.strategy
    )
    for entry in entries:
        _check_judges(config, next(run for run in runs if run.entry is entry))
    return Evaluation(config, out, entries, runs, tuple(skipped))


def _strategies(config: EvaluateConfig) -> tuple[tuple[str, ...], list[str]]:
    """`--strategy` with `all` written out, and what of it is skipped: a strategy whose models were not given.
    `reference` is not among them: it repeats the source's answers, and most benchmarks have none."""
    if ALL not in config.strategy:
        return tuple(config.strategy), []
    given = tuple(role for role in ROLES if getattr(config, role) is not None)
    found, skipped = [name for name in config.strategy if name != ALL], []
    for name in STRATEGIES:
        if name == "reference" or name in found:
            continue
        try:
            if helpers_of(name):
                create(name, StrategyOptions(preset=config.preset, helpers=given))
            found.append(name)
        except UsageError as error:
            skipped.append(f"--strategy all: {name} is skipped. {error}")
    return tuple(found), skipped


def out_of(config: EvaluateConfig) -> str:
    """Where the evaluation is written."""
    return (config.out or f"evaluations/{file_name(config.name or config.model)}").rstrip("/")


def run_name(label: str, part: str, strategy: str) -> str:
    """The folder of a run below OUT/runs."""
    return file_name(f"{label}-{part}-{strategy}")


def file_name(text: str) -> str:
    """`text` with everything that a folder's name had better not hold replaced."""
    return UNSAFE_NAME.sub("_", text.rstrip("/")).strip("_.") or "model"


def _distinct(flag: str, values: Any) -> None:
    twice = sorted({value for value in values if list(values).count(value) > 1})
    if twice or not values:
        raise UsageError(f"{flag}: {', '.join(twice)} stands twice" if twice else f"{flag}: at least one is needed")


def _entry(config: EvaluateConfig, given: str, options: Mapping[str, Mapping[str, Any]]) -> Entry:
    match = ENTRY.fullmatch(given)
    if match is None:
        raise UsageError(f"--benchmark {given}: expected NAME, NAME=PATH or NAME@LABEL=PATH")
    benchmark = benchmarks.get(match["name"])
    label = f"{benchmark.name}@{match['label']}" if match["label"] else benchmark.name
    chosen = {**options.get(benchmark.name, {}), **options.get(label, {})}
    parts = tuple(benchmark.parts(match["path"], chosen))
    if not parts:
        raise UsageError(f"--benchmark {given}: these options leave no part of it")
    return Entry(label, match["name"], match["path"], benchmark, chosen, parts, judges_of(config, benchmark))


def tells(config: EvaluateConfig, run: PlannedRun, judge: JudgeAsked) -> Kind | None:
    """What a judge from outside says that it tells; None: as its name, or its file, declares."""
    if judge.asks is None:
        return None
    return make(judge.name, options_of(annotate_config(config, run, judge))).tells


def _generate(config: EvaluateConfig, out: str, entry: Entry, part: Part, strategy: str) -> GenerateConfig:
    """The run's own configuration: the flags that both commands have, and what the part says."""
    shared = {field.name for field in fields(GenerateConfig)} & {field.name for field in fields(EvaluateConfig)}
    values = {name: getattr(config, name) for name in shared - {"strategy", "out", "max_tokens"}}
    source = part.source
    for role in ROLES:  # the same flags serve all strategies: one that asks no helper gets none
        if role not in helpers_of(strategy):
            values |= {name: None for name in (role, f"{role}_adapter") if name in shared}
    return GenerateConfig(
        **values,
        queries=source.name,
        path=source.path,
        split=source.split,
        columns=dict(source.columns or {}),
        source_revision=source.revision,
        strategy=strategy,
        max_tokens=config.max_tokens or part.max_tokens,
        no_curate=True,
        out=f"{out}/runs/{run_name(entry.label, part.name, strategy)}",
    )


def annotate_config(config: EvaluateConfig, run: PlannedRun, judge: JudgeAsked) -> AnnotateConfig:
    """What `annotate` is asked for one judge over one run: the judge's own model, or for `self` the evaluated one."""
    base = AnnotateConfig(
        run=str(run.config.out),
        judge=("harm",) if judge.is_self else (judge.given,),
        field="final_response",
        threshold=config.judge_threshold,
        max_error_rate=config.max_error_rate,
        seed=config.seed,
        allow_partial=True,
        benchmark=run.entry.given,
        scripted_harmful=config.scripted_harmful,
        picture_prep=config.picture_prep,
    )
    if judge.is_self:
        return _with_own_model(base, config)
    return _with_judge_model(base, config, judge.options) if needs_model(judge) else replace(base, backend="auto")


def _with_own_model(base: AnnotateConfig, config: EvaluateConfig) -> AnnotateConfig:
    """The evaluated model judges."""
    values: dict[str, Any] = {name: getattr(config, name) for name in JUDGE_FLAGS}
    workers = int(config.workers.rpartition(":")[2])
    return replace(base, **{**values, "workers": workers})


def _with_judge_model(base: AnnotateConfig, config: EvaluateConfig, own: Mapping[str, Any]) -> AnnotateConfig:
    """The judges' common model, or this judge's own one."""
    common = EvaluateConfig() if "model" in own else config
    values = {name: getattr(common if name in OF_ONE_MODEL else config, f"judge_{name}") for name in JUDGE_FLAGS}
    return replace(base, **{**values, **own})


def _check_judges(config: EvaluateConfig, run: PlannedRun) -> None:
    """Every judge is made once, so that a missing model or a malformed file is said now."""
    seen: dict[tuple[str, str, str], str] = {}
    for judge in run.entry.judges:
        if judge.file is not None and judge.name not in FILE_JUDGES:
            continue
        asked = annotate_config(config, run, judge)
        if needs_model(judge) and not judge.is_self and not asked.model and asked.backend != "scripted":
            raise UsageError(
                f"--judge {judge.given} asks a model: name one with --judge-model, or for this judge alone with "
                f"--judge-option {judge.own_name}.model=M (another one than the evaluated model is "
                f"best), or choose judges without: {', '.join(sorted(WITHOUT_MODEL))}"
            )
        made = make("harm" if judge.is_self else judge.name, options_of(asked, judge.file))
        # The annotations are kept by these, so two such judges would be one, and agree perfectly.
        key = (made.name, made.version, made.prompt_sha256)
        if not judge.is_self and seen.setdefault(key, judge.label) != judge.label:
            raise UsageError(
                f"--judge: {seen[key]} and {judge.label} ask the same model the same; give one a model of its own "
                f"(--judge-option {judge.own_name}.model=M)"
            )
