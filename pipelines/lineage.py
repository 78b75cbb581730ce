"""`generate --since-last`: the next version of a lineage, on the queries that no earlier version has answered.

One start of this does, under the lock of ROOT: finish the version that is under way, or else begin the next one; list
it in lineage.json; curate all complete versions together into ROOT. Every step can be killed and is taken up again by
the next start.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any, NamedTuple

from engine.config import CurateConfig, GenerateConfig
from engine.errors import OutputError, UsageError
from engine.journal.index import done
from engine.journal.lock import RunLock, Skipped
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.lineage.document import entry, read_lineage, write_lineage
from engine.lineage.fresh import answered, fresh
from engine.lineage.versions import State, assert_untouched, digests, join, look
from engine.planning import Job, plan_job
from engine.sources import Plan, iter_rows
from pipelines.generation import Stop
from pipelines.run import resume_command, run_job


class Made(NamedTuple):
    """What one start did. `manifest` is None where there was nothing new."""

    root: str
    version: str | None
    manifest: dict[str, Any] | None
    stop: Stop
    known: int


def run_lineage(config: GenerateConfig) -> Made:
    """Finish or begin a version, list it, curate. Raises what a run raises; Skipped where ROOT is held."""
    root = _root(config)
    store = Store(root)
    store.ensure()
    with RunLock(store, if_running=config.if_running) as lock:  # type: ignore[arg-type]
        state = look(root)
        if read_lineage(root) is None or any(name not in state.known for name in state.sealed):
            _list(state, {})  # a new lineage, or a version whose run was killed between its seal and its listing
        made = _next(config, state)
        if lock.lost.is_set():
            raise OutputError(f"{root}: the lock was taken away; the version is sealed, the next start lists it")
        if made.version is not None:
            _list(look(root), {made.version: made.known})
        if not config.no_curate:
            _curate(root)
        return made


def _root(config: GenerateConfig) -> str:
    import os

    if not config.out:
        raise UsageError("--since-last needs --out ROOT: the folder (or s3:// address) that holds all versions")
    if config.resume == "never":
        raise UsageError("--since-last with --resume never: a version that was stopped is always finished first")
    return config.out if "://" in config.out else os.path.abspath(config.out)


def _next(config: GenerateConfig, state: State) -> Made:
    """Answer what is new, in the version under way or in a new one."""
    job, known = _plan(config, state)
    if job.plan.total == 0 and state.open is None:
        _say(f"nothing new: all {known:,} rows of the source are answered in {', '.join(state.sealed) or 'no version'}")
        return Made(state.root, None, None, Stop(), known)
    before = digests(state.root, state.sealed)
    words = f"{known:,} rows known from earlier versions" if state.sealed else "no earlier version"
    _say(f"{state.current}{' goes on' if state.open else ''}: {job.plan.total:,} rows, {words}")
    manifest, stop = run_job(job)
    assert_untouched(state.root, before)
    return Made(state.root, state.current, manifest, stop, known)


def _plan(config: GenerateConfig, state: State) -> tuple[Job, int]:
    """The run of the current version: `--limit` and `--max-candidates` count its new rows."""
    limits = [limit for limit in (config.limit, config.max_candidates) if limit is not None]
    whole = plan_job(replace(config, limit=None, max_candidates=None, out=join(state.root, state.current)))
    known = answered(state.urls(), retry_errors=config.retry_errors)
    found = fresh(whole.plan, known, whole.caps, min(limits) if limits else None)
    # Curation is over all versions, at the end, and once.
    own = replace(whole.config, no_curate=True, limit=config.limit, max_candidates=config.max_candidates)
    plan = found.plan
    if state.open:
        plan = _with_journalled(plan, whole.out)
        own = replace(own, retry_errors=config.retry_errors and bool(plan.windows))
    return replace(whole, config=own, plan=plan), found.known


def _with_journalled(plan: Plan, out: str) -> Plan:
    """The plan of a version that is under way: its journal's rows count too, wherever the source has put them since.
    Else a source whose rows were moved away would leave the version unfinished for ever."""
    before = done(out)
    new = 0
    for window, selection in plan.windows:
        keys = [row.key for row in iter_rows(window, selection)]
        new += len(keys) - int(before.has_keys(keys).sum())
    return Plan(len(before.keys) + new, plan.windows)


def _list(state: State, known: dict[str, int]) -> None:
    """Write lineage.json: every complete version, and the one under way if it was sealed partially."""
    counted = {**state.known, **known}
    entries: list[dict[str, Any]] = []
    before: dict[str, Any] | None = None
    for name in [*state.sealed, *([state.open] if state.open else [])]:
        manifest = read_manifest(join(state.root, name))
        if manifest is None:
            continue  # under way and never sealed
        entries.append(entry(state.root, name, counted.get(name), before))
        before = manifest
    write_lineage(state.root, entries)
    if entries and known and entries[-1]["changed"]:
        _say(f"settings changed since the version before: {', '.join(entries[-1]['changed'])}")


def _curate(root: str) -> None:
    """Curate all complete versions into ROOT, unless that is what stands there."""
    from pipelines import curation

    state = look(root)
    wanted = list(digests(root, state.sealed).values())
    store = Store(root)
    if not state.sealed:
        return
    if store.exists("curation.json"):
        curated = json.loads(store.read("curation.json"))
        if [each["manifest_sha256"] for each in curated["runs"]] == wanted:
            return
    _say(f"curating {len(wanted):,} version{'s' if len(wanted) > 1 else ''} together")
    curation.run(state.urls(), CurateConfig(out=root))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run_command(config: GenerateConfig) -> int:
    """`engine.generate --since-last`: run, show what came out, and return the exit code."""
    try:
        made = run_lineage(config)
    except Skipped:
        print("already running")
        return 0
    if made.manifest is None:
        print(f"nothing new in {made.root}")
        return 0
    from pipelines.run import show

    show(join(made.root, str(made.version)), made.manifest, config)
    if made.stop.error is not None:
        _say(f"ecso: {made.stop.error}")
    if made.stop.reason is not None and made.stop.reason != "target":
        _say(f"stopped ({made.stop.reason}); resume with: {resume_command()}")
    return made.stop.exit_code
