"""`journal/run.json`: which run an output folder belongs to. Written before the first row, never changed after."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from engine.errors import UsageError
from engine.journal.manifest import read_manifest
from engine.journal.segments import segments
from engine.journal.store import Store

RUN = "journal/run.json"
Resume = Literal["auto", "always", "never"]
SHOWN = 60
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class RunState:
    """The run that an output folder holds."""

    run_id: str
    fingerprint: str
    fields: Mapping[str, Any]
    started_at: str
    resumed: bool
    """Whether the folder held this run before."""
    manifest: Mapping[str, Any] | None
    """The sealed manifest, if there is one: with status complete there may be nothing to do."""
    note: str | None = None
    """What a person should know before it goes on."""


def read_run(url: str) -> dict[str, Any] | None:
    """run.json, or None where there is none. UsageError for one that cannot be read."""
    store = Store(url)
    try:
        found = json.loads(store.read(RUN))
        held = {name: found[name] for name in ("run_id", "fingerprint", "fields", "started_at")}
        return held | {"source": found.get("source")}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{store.path(RUN)}: damaged ({error!r}); choose another --out") from error


def open_run(
    url: str,
    fingerprint: str,
    fields: Mapping[str, Any],
    run_id_factory: Callable[[], str],
    resume: Resume = "auto",
    *,
    source: Mapping[str, Any] | None = None,
) -> RunState:
    """The run of this folder, begun or resumed. Call it while holding the run lock.

    UsageError where another run stands there (a different fingerprint names the fields, old -> new), where its rows are
    those of another `source` (what the source says of itself, `identity()`; None: not asked), where `always` finds
    nothing to resume, or `never` finds something.
    """
    store = Store(url)
    store.ensure()
    manifest = read_manifest(url)
    held = read_run(url) or _from_manifest(store, manifest)
    if held is None:
        return _begin(store, fingerprint, fields, run_id_factory, resume, source)
    if resume == "never":
        raise UsageError(
            f"--resume never: {url} already holds run {held['run_id']}; choose another --out, or leave --resume out "
            "to go on with it"
        )
    if held["fingerprint"] != fingerprint:
        raise UsageError(_mismatch(url, held, fields))
    other = other_source(held, source)
    if other is not None:
        raise UsageError(f"{url} {other}; choose another --out")
    note = changed_source(held, source)
    return RunState(held["run_id"], fingerprint, held["fields"], held["started_at"], True, manifest, note)


def _begin(
    store: Store,
    fingerprint: str,
    fields: Mapping[str, Any],
    run_id_factory: Callable[[], str],
    resume: Resume,
    source: Mapping[str, Any] | None,
) -> RunState:
    if resume == "always":
        raise UsageError(f"--resume always: there is no run to resume in {store.url}")
    if segments(store):
        raise UsageError(f"{store.url}: journal/ has rows but no run.json says of which run; choose another --out")
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    state = RunState(run_id_factory(), fingerprint, dict(fields), started_at, False, None)
    document = {
        "run_id": state.run_id,
        "fingerprint": fingerprint,
        "fields": state.fields,
        "started_at": started_at,
        **({} if source is None else {"source": _place(source)}),
    }
    store.write(RUN, json.dumps(document, indent=1).encode())
    return state


def other_source(held: Mapping[str, Any], source: Mapping[str, Any] | None) -> str | None:
    """What to say where the run `held` (`read_run`) answers the rows of another source than `source`, else None.

    Rows are known again by their place (`queries.jsonl:7`), so another source's rows would pass for answered ones. The
    same data may have moved, and the data in one place may have been mended or have grown; both at once is another
    source.
    """
    before = held.get("source")
    if before is None or source is None:
        return None
    now, digest = _place(source), source.get("index_sha256")
    if before.get("path") == now["path"] or (digest is not None and before.get("index_sha256") == digest):
        return None
    return f"holds the rows of {before.get('path')}, and these are those of {now['path']}"


def changed_source(held: Mapping[str, Any], source: Mapping[str, Any] | None) -> str | None:
    """What to say where the source stands where it stood, but lists other rows than when the run began, else None."""
    before = held.get("source")
    if before is None or source is None:
        return None
    then, now = before.get("index_sha256"), source.get("index_sha256")
    if then is None or now is None or then == now:
        return None
    return (
        f"{_place(source)['path']} has changed since this run began. Rows are known by their place: those added at the "
        "end are answered, and failed ones that were mended with --retry-errors; one put before others is not. Where "
        "rows have moved, choose another --out"
    )


def _place(source: Mapping[str, Any]) -> dict[str, Any]:
    """Where the rows come from (a path by its full name) and the digest of what lists them."""
    path = str(source.get("path"))
    return {
        "path": os.path.abspath(path) if os.path.exists(path) else path,
        "index_sha256": source.get("index_sha256"),
    }


def _from_manifest(store: Store, manifest: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A sealed folder whose journal was removed by hand: complete, it is still a run; partial, it cannot go on."""
    if manifest is None:
        return None
    if manifest["status"] != "complete":
        raise UsageError(
            f"{store.url}: a partial run whose journal is gone cannot be resumed; choose another --out to start anew"
        )
    source = manifest["config"].get("source")
    return {
        "run_id": manifest["run_id"],
        "fingerprint": manifest["fingerprint"],
        "fields": manifest["fingerprint_fields"],
        "started_at": manifest["started_at"],
        "source": _place(source) if source else None,
    }


def _mismatch(url: str, held: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    lines = [f"  {name}: {_show(old)} -> {_show(new)}" for name, old, new in differences(held["fields"], fields)] or [
        "  (the fields are equal: the fingerprint was made by another version of the engine)"
    ]
    return "\n".join(
        [
            f"{url} holds run {held['run_id']}, made with other settings that can change an answer:",
            *lines,
            "Choose another --out for the new settings, or go back to the old ones to resume.",
        ]
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, object, object]]:
    """(dotted name, old, new) of every field that differs; a field that one side lacks shows as absent."""
    before, after = _flat(old), _flat(json.loads(json.dumps(new)))
    return [
        (name, before.get(name, _ABSENT), after.get(name, _ABSENT))
        for name in sorted(before.keys() | after.keys())
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    ]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            found.update(_flat(value, f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def _show(value: object) -> str:
    if value is _ABSENT:
        return "(absent)"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
