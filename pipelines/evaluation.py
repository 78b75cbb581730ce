"""`evaluate`: answer every part of every benchmark with every strategy, judge, score.

The work is that of `generate` and `annotate`: their folders, journals, resume and kill safety. A run that is complete
and judged is not touched again, so the same command after a kill goes on, and after its end only scores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.config import EvaluateConfig
from engine.errors import EcsoError, OutputError
from engine.evaluation import answers, scores
from engine.evaluation.judges_asked import JudgeAsked, needs_model
from engine.evaluation.page import evaluation_page
from engine.evaluation.planning import PlannedRun, annotate_config, plan, tells
from engine.evaluation.scores import JudgeUsed, RunScored, Scored
from engine.journal.store import Store
from engine.judges.planning import options_of
from engine.planning import Job, plan_job
from engine.strategies import helpers_of, prompts
from pipelines import cluster
from pipelines.annotation import annotate
from pipelines.run import run_job


class StoppedError(EcsoError):
    """A run ended before its last row (Ctrl-C, SIGTERM); the same command goes on."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Answer, judge, score, write OUT/scores.json and OUT/evaluation.html; the scores.

    Raises UsageError before anything is started; whatever generate and annotate raise, with what was done kept; and
    StoppedError where a run was interrupted.
    """
    return evaluate(config)[0]


def evaluate(config: EvaluateConfig) -> tuple[dict[str, Any], list[Scored]]:
    """As `run`, with the rows beside the document."""
    planned = plan(config)
    for line in planned.skipped:
        print(line, file=sys.stderr, flush=True)
    jobs = [(each, plan_job(each.config)) for each in planned.runs]
    store = Store(planned.out)
    store.ensure()
    with cluster.shared():
        manifests = {each.name: _answer(each, job) for each, job in jobs}
        judged = {each.name: _judge(planned.config, each, job, manifests[each.name]) for each, job in jobs}
    runs = [_read(each, manifests[each.name], judged[each.name]) for each, _ in jobs]
    scored = [
        scores.score(entry.benchmark, entry.label, strategy, mine)
        for entry in planned.entries
        for strategy in planned.config.strategy
        if (mine := [each for each in runs if (each.benchmark, each.strategy) == (entry.label, strategy)])
    ]
    document = scores.document(planned.config, planned.entries, runs, scored, planned.skipped)
    scores.write(store, document)
    store.write("evaluation.html", evaluation_page(document, runs, scored))
    return document, scored


def _answer(planned: PlannedRun, job: Job) -> Mapping[str, Any]:
    """Generate, unless it is done already."""
    print(f"evaluate: {planned.name}", file=sys.stderr, flush=True)
    manifest, stop = run_job(job)
    if stop.error is not None:
        raise stop.error
    if stop.exit_code:
        raise StoppedError(f"stopped ({stop.reason}); the same command goes on", stop.exit_code)
    return manifest


def _judge(
    config: EvaluateConfig, planned: PlannedRun, job: Job, manifest: Mapping[str, Any]
) -> list[tuple[JudgeAsked, JudgeUsed]]:
    """Let every judge see the run; what is there already is not asked again."""
    return [(judge, _one_judge(config, planned, judge, job, manifest)) for judge in planned.entry.judges]


def _one_judge(
    config: EvaluateConfig, planned: PlannedRun, judge: JudgeAsked, job: Job, manifest: Mapping[str, Any]
) -> JudgeUsed:
    asked = annotate_config(config, planned, judge)
    judged_itself = judge.is_self and not helpers_of(planned.strategy)  # a helper's verdict is not the model's own
    if judged_itself and answers.has_own_verdicts(Store(job.out), manifest):
        version = f"the verdict that the model gave while answering ({planned.strategy}, {config.preset})"
        return JudgeUsed(judge.label, judge.name, version, prompts.digest(["tell"]), True, job.model, own=True)
    key = annotate(asked)[0].key
    if key is None:
        raise OutputError(f"{job.out}: {judge.label} was asked, and nobody says under which key")
    found = JudgeUsed(
        *(judge.label, judge.name, key.version, key.prompt_sha256, judge.is_self),
        key=key,
        own=judged_itself,
        tells=tells(config, planned, judge),
    )
    if not needs_model(judge):
        return found
    # "name@revision backend …": it is the same model where name and revision are those that answered.
    name = options_of(asked, judge.file).model_label.partition(" ")[0]
    is_same = judge.is_self or name == f"{job.model}@{job.revision or 'unknown'}"
    return replace(found, same_model=is_same, model=name)


def _read(planned: PlannedRun, manifest: Mapping[str, Any], judged: list[tuple[JudgeAsked, JudgeUsed]]) -> RunScored:
    """The rows of a run with all opinions."""
    out = str(planned.config.out)
    store = Store(out)
    said = {used.label: {} if used.key is None else answers.opinions(store, used.key) for _, used in judged}
    own = next((used.label for _, used in judged if used.own), None)
    declared = {used.label: used.tells for _, used in judged}
    rows = answers.rows_of(store, manifest, planned.part.name, said, own=own, tells=declared)
    return RunScored(
        name=planned.name,
        benchmark=planned.entry.label,
        part=planned.part.name,
        strategy=planned.strategy,
        path=f"runs/{os.path.basename(out)}",
        manifest=manifest,
        judges=tuple(used for _, used in judged),
        rows=tuple(rows),
    )
