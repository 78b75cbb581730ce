"""One generate run from configuration to sealed data set: plan, lock, answer, seal, curate."""

from __future__ import annotations

import json
import sys
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from engine.config import CurateConfig, GenerateConfig
from engine.errors import OutputError
from engine.journal.index import Done, done
from engine.journal.lock import RunLock, Skipped
from engine.journal.manifest import MANIFEST
from engine.journal.run import RunState, open_run
from engine.journal.seal import RunInfo, seal_in_process
from engine.journal.store import Store
from engine.lineage import refuse
from engine.planning import Job, config_dict, plan_job
from engine.progress import Tally
from pipelines.generation import Stop, execute, signals

Manifest = dict[str, Any]


def run(config: GenerateConfig) -> Manifest:
    """Answer every row that is not answered yet, seal, curate; the manifest.

    Raises UsageError, OutputBusyError, OutputError or BreakerError; whatever was finished is sealed before that.
    """
    if config.since_last:
        from pipelines.lineage import run_lineage

        made = run_lineage(config)
        if made.stop.error is not None:
            raise made.stop.error
        return made.manifest or {}
    manifest, stop = run_job(plan_job(config))
    if stop.error is not None:
        raise stop.error
    return manifest


def run_job(job: Job) -> tuple[Manifest, Stop]:
    """As `run`, but why it ended is returned beside the manifest."""
    store = Store(job.out)
    refuse(job.out)
    store.ensure()
    with RunLock(store, if_running=job.config.if_running) as lock:  # type: ignore[arg-type]
        # A lineage's version that is under way is finished with whatever source there is now.
        source = None if job.config.since_last else job.source_identity
        resume: Any = job.config.resume
        state = open_run(job.out, job.fingerprint, job.fields, _run_id, resume, source=source)
        if state.note is not None:
            _say(f"note: {state.note}")
        if is_complete(state.manifest, job):
            _say(f"complete already: {job.out}")
            _curate(job)
            return dict(state.manifest or {}), Stop()
        finished = done(job.out, retry_errors=job.config.retry_errors)
        return _answer_and_seal(job, state, finished, lock)


def is_complete(manifest: Any, job: Job) -> bool:
    """Whether the sealed run already holds every planned row (and no error that is to be asked again)."""
    if manifest is None or manifest["status"] != "complete" or manifest["fingerprint"] != job.fingerprint:
        return False
    if job.config.retry_errors and manifest["counts"]["error"]:
        return False
    target = job.config.target_accepted
    if target is not None and manifest["counts"]["ok"] >= target:
        return True
    return bool(manifest["counts"]["read"] >= job.plan.total)


def _answer_and_seal(job: Job, state: RunState, finished: Done, lock: RunLock) -> tuple[Manifest, Stop]:
    before = len(finished.keys)
    _say(
        f"run {state.run_id} · fingerprint {job.fingerprint[:8]} · {job.plan.total:,} rows, {before:,} done · {job.out}"
    )
    tally = Tally(job.plan.total, before, finished.accepted)
    with signals(stop := Stop()):
        return _follow_through(job, state, finished, lock, tally, stop)


def _follow_through(
    job: Job, state: RunState, finished: Done, lock: RunLock, tally: Tally, stop: Stop
) -> tuple[Manifest, Stop]:
    before = tally.before
    if job.config.target_accepted is not None and finished.accepted >= job.config.target_accepted:
        stop.because("target")  # a run that was killed between its last row and its seal
    elif before != job.plan.total:  # more are done where less is planned than before; which ones, the readers see
        execute(job, state.run_id, finished, tally, lock.lost, stop)
    if lock.lost.is_set():
        raise OutputError(f"{job.out}: the run lock was taken away; nothing is sealed, the journal keeps what is done")
    stop.is_sealing = True
    _say("sealing")
    whole = stop.reason == "target" or (stop.reason is None and before > job.plan.total)
    manifest = seal_in_process(job.out, run=_info(job, state, stop, tally, whole), complete=whole or None)
    _curate(job)
    if stop.reason is None and manifest["status"] != "complete":
        missing = f"{manifest['counts']['read']:,} of {job.plan.total:,} planned rows are in the journal"
        stop.because("rows missing", code=1, error=OutputError(f"{missing}: did the source change while it was read?"))
    return manifest, stop


def _curate(job: Job) -> None:
    """The data set and its report, unless they are switched off, or stand there already and are of this very seal: a
    run may have been killed between its seal and its curation, and somebody may have curated it in their own way."""
    if job.config.no_curate or _is_curated(Store(job.out)):
        return
    from pipelines import curation

    curation.run(job.out, CurateConfig(allow_partial=True))


def _is_curated(store: Store) -> bool:
    try:
        curated = json.loads(store.read("curation.json"))
        sealed = sha256(store.read(MANIFEST)).hexdigest()
        named = sealed in [run["manifest_sha256"] for run in curated["runs"]]
        return named and (store.exists("report.html") or not curated["config"]["report"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return False  # never curated, or damaged


def _info(job: Job, state: RunState, stop: Stop, tally: Tally, whole: bool) -> RunInfo:
    """`whole`: complete as it is (its target is reached); else the seal compares with what was planned."""
    config = config_dict(job.config)
    config["source"] = job.source_identity
    return RunInfo(
        run_id=state.run_id,
        fingerprint=job.fingerprint,
        fingerprint_fields=job.fields,
        config=config,
        models=[
            {"role": "policy", "name": job.model, "revision": job.revision},
            *({"role": helper.role, "name": helper.name, "revision": helper.revision} for helper in job.helpers),
        ],
        scripted=job.scripted,
        started_at=state.started_at,
        stats={
            "backend": job.backend.name,
            "calls": tally.calls,
            "prompt_tokens": tally.prompt_tokens,
            "cached_tokens": tally.cached_tokens,
            "completion_tokens": tally.completion_tokens,
            "answered": tally.rows,
            "answering_s": tally.answering_s,
            "stopped": stop.reason,
            **stop.stats,
        },
        expected=None if whole else job.plan.total,
    )


def _run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_command(config: GenerateConfig) -> int:
    """`engine.generate`: run, show what came out, and return the exit code."""
    if config.since_last:
        from pipelines import lineage

        return lineage.run_command(config)
    job = plan_job(config)
    try:
        manifest, stop = run_job(job)
    except Skipped:
        print("already running")
        return 0
    show(job.out, manifest, config)
    if stop.error is not None:
        _say(f"ecso: {stop.error}")
    if stop.reason is not None and stop.reason != "target":
        _say(f"stopped ({stop.reason}); resume with: {resume_command()}")
    return stop.exit_code


def resume_command() -> str:
    """The same command again (`ecso generate …` and `python -m engine generate …` are this one too): finished rows are
    found by their ids."""
    import shlex

    given = sys.argv[1:]
    return shlex.join(["python", "-m", "engine.generate", *(given[1:] if given[:1] == ["generate"] else given)])


def show(out: str, manifest: Manifest, config: GenerateConfig) -> None:
    """The table of harmless rates and where the data set is."""
    from rich.console import Console

    from engine.evaluation.harmless import to_rich
    from pipelines import closing

    console = Console()
    store = Store(out)
    found = closing.table(out, manifest, config.queries)
    if found is not None:
        console.print(to_rich(found, config.strategy))
    counts = manifest["counts"]
    console.print(
        f"{manifest['status']}: {counts['transcripts']:,} transcripts ({counts['ok']:,} ok, "
        f"{counts['unresolved']:,} unresolved, {counts['error']:,} errors), {counts['duplicates']:,} duplicates",
        highlight=False,
    )
    if store.exists("curation.json"):
        curated = json.loads(store.read("curation.json"))["counts"]
        console.print(
            f"data set: {curated['sft']:,} supervised rows, {curated['preference']:,} preference pairs, "
            f"{curated['rejected']:,} rejected",
            highlight=False,
        )
    console.print(f"in {out}", highlight=False, soft_wrap=True)
