"""Where the output goes, and who may publish."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.journal.run import differences, other_source, read_run
from engine.journal.store import Store
from engine.lineage import is_lineage
from engine.lineage.versions import look
from engine.validation.check import Check, Context, failed, passed, skipped, warned

ROW_BYTES = 8_000
"""A transcript in the journal and in its tables, roughly."""
COPIES = 3
"""A picture stands in the journal, in pictures/ and in sft/."""


def output(context: Context) -> Iterable[Check]:
    """Writable, and not another run's."""
    job = context.job
    if job is None:
        yield skipped("output", "the config failed")
        return
    new = "://" not in job.out and not os.path.exists(job.out)
    store = Store(job.out)
    store.ensure()
    if new:
        _remove_empty(Path(job.out))
    yield passed("output", f"{job.out} can be written")
    yield from _held(context, job.out)


def _held(context: Context, out: str) -> Iterable[Check]:
    job = context.job
    assert job is not None
    if context.generate.since_last:
        state = look(out)
        words = f"{len(state.sealed)} versions, next {state.current}" if state.sealed or state.open else "a new lineage"
        yield passed("lineage", words + (" (unfinished, is resumed)" if state.open else ""))
        return
    if is_lineage(out):
        yield failed("run", f"{out} is a lineage", "add --since-last, or choose another --out")
        return
    held = read_run(out) if Store(out).exists("journal/run.json") else None
    if held is None:
        yield passed("run", "a new one")
    elif held["fingerprint"] == job.fingerprint and (other := other_source(held, job.source_identity)) is not None:
        yield failed("run", f"{out} {other}", "choose another --out")
    elif held["fingerprint"] == job.fingerprint:
        yield passed("run", f"{held['run_id']} is there and is resumed")
    else:
        names = ", ".join(name for name, _, _ in differences(held["fields"], job.fields))
        yield failed("run", f"{held['run_id']} has other settings: {names}", "choose another --out, or its settings")


def _remove_empty(folder: Path) -> None:
    """Leave no trace of the probe: the folder, and those above it that the probe made, while they are empty."""
    while folder.exists() and not any(folder.iterdir()) and folder != folder.parent:
        folder.rmdir()
        folder = folder.parent
        if folder == Path.cwd():
            return


def disk(context: Context) -> Iterable[Check]:
    """Free space against what the rows will take."""
    job = context.job
    if job is None or "://" in job.out:
        yield skipped("disk", "the config failed" if job is None else "the output is on an object store")
        return
    folder = Path(job.out)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    need = job.plan.total * (ROW_BYTES + COPIES * context.picture_bytes)
    least = max(need, context.validate.least_free_gb * 1e9)
    words = f"{free / 1e9:,.1f} GB free, about {need / 1e9:,.2f} GB will be written"
    if free >= least:
        yield passed("disk", words)
    else:
        yield failed("disk", words, f"free {(least - free) / 1e9:,.1f} GB, or choose another --out (--least-free-gb)")


def token(context: Context) -> Iterable[Check]:
    """Whether the Hub lets this token write where publish will."""
    config = context.publish
    if config is None or not config.repo:
        yield skipped("Hub token", "publish is not configured (publish.repo)")
        return
    if context.validate.offline:
        yield skipped("Hub token", "--offline")
        return
    from engine.publishing.hub import Hub

    hub = Hub(config.token_env)
    who = hub.once("who the token belongs to", hub.api.whoami)
    found = may_write(who, config.repo.partition("/")[0])
    if found is None:
        yield passed("Hub token", f"of {who.get('name')}, may write to {config.repo}")
    elif found.startswith("unknown"):
        yield warned("Hub token", found, "try engine.publish --dry-run, then publish")
    else:
        yield failed("Hub token", found, "make one with write access: https://huggingface.co/settings/tokens")


def may_write(who: dict[str, Any], organisation: str) -> str | None:
    """None where it may; else why not. `who` is what the Hub's whoami answers."""
    names = {who.get("name"), *(each.get("name") for each in who.get("orgs") or [])}
    if organisation not in names:
        return f"the token is of {who.get('name')}, who is not in {organisation}"
    access = ((who.get("auth") or {}).get("accessToken")) or {}
    role = access.get("role")
    if role == "write":
        return None
    if role == "fineGrained":
        for scope in (access.get("fineGrained") or {}).get("scoped") or []:
            if scope.get("entity", {}).get("name", "").partition("/")[0] == organisation and "repo.write" in scope.get(
                "permissions", []
            ):
                return None
        return f"the token has no repo.write for {organisation}"
    return f"the token may only {role}" if role else "unknown: the Hub does not say what the token may do"


def environment(_: Context) -> Iterable[Check]:
    """Python packages at all."""
    missing = [name for name in ("pyarrow", "PIL", "ray") if not _there(name)]
    if missing:
        raise UsageError(f"not installed: {', '.join(missing)}")
    yield passed("packages", "all of the core are there")


def _there(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
