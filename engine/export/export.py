"""One export: a sealed curated set in, a trainer's layout out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from engine.errors import UsageError
from engine.export import FORMATS
from engine.export.data import Data
from engine.export.mix import Mix, choose
from engine.export.output import Output
from engine.export.read import SCRIPTED, Curated, is_scripted, open_curated
from engine.version import version

TABLES = ("sft", "preference", "rejected", "transcripts", "pictures", "annotations", "journal", "logs")


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """`engine.export`: what to read, the format, the utility mix, where to write. `seed`: choice and order of rows."""

    curated: str
    format: str
    out: str
    mix: str | None = None
    mix_rows: int | None = None
    two_turn: bool = False
    seed: int = 0
    allow_partial: bool = False


def export(config: ExportConfig) -> dict[str, Any]:
    """Write the export and its seal; the seal's document. The curated set itself is only read.

    Raises UsageError for unusable input or flags, OutputError for a failed write.
    """
    _check(config)
    curated = open_curated(config.curated, allow_partial=config.allow_partial)
    mix = None
    if config.mix is not None and config.format != "trl-dpo":
        mix = choose(config.mix, config.mix_rows or 0, config.seed, taken_ids(curated))
    data = Data(curated, mix, config.two_turn, config.seed)
    out = Output(config.out)
    import_module(FORMATS[config.format]).write(data, out)
    document = {
        "kind": "export",
        "engine_version": version(),
        "config": asdict(config),
        "curation_sha256": curated.sha256,
        "runs": curated.document["runs"],
        SCRIPTED: is_scripted(curated, ("sft", "preference")),
        "counts": {name: count for name, count in data.counts.items() if count},
        "pictures": out.pictures,
        "mix": _mix_facts(config, mix),
        "notes": out.notes,
    }
    out.seal(document)
    return document | {"files": [file.entry() for file in out.files]}


def _check(config: ExportConfig) -> None:
    if config.format not in FORMATS:
        near = get_close_matches(config.format, FORMATS, 1)
        hint = f"did you mean {near[0]}?" if near else "unknown."
        raise UsageError(f"--format {config.format}: {hint} There are {', '.join(FORMATS)}")
    if (config.mix is None) != (config.mix_rows is None):
        raise UsageError("--mix PATH and --mix-rows N go together")
    if config.mix is not None and config.format == "trl-dpo":
        raise UsageError("--mix: utility rows have no rejected answer; mix them into another format")
    if config.two_turn and config.format != "llava":
        raise UsageError(f"--two-turn is a form of llava, not of {config.format}")
    if "://" in config.out or "://" in config.curated:
        return
    out, curated = os.path.realpath(config.out), os.path.realpath(config.curated)
    inside = os.path.relpath(out, curated).split(os.sep)[0]
    if out == curated or inside in TABLES:
        raise UsageError(
            f"--out {config.out}: inside the curated set, which export never changes; choose another folder"
        )


def taken_ids(curated: Curated) -> set[bytes]:
    """Query ids of the set, both tables: what the mix is deduplicated against."""

    def ids() -> Iterator[bytes]:
        for table in ("sft", "preference"):
            curated.check(table)
            for row in curated.raw(table, ["query_id"]):
                yield bytes.fromhex(row["query_id"])

    return set(ids())


def _mix_facts(config: ExportConfig, mix: Mix | None) -> dict[str, Any] | None:
    if mix is None:
        return None
    return {
        "name": mix.source.name,
        "asked": config.mix_rows,
        "rows": len(mix.chosen),
        "read": mix.read,
        "duplicates": mix.duplicates,
        "bad_rows": mix.bad_rows,
        "bad": list(mix.bad),
        "chosen": [row.key for row in mix.chosen],
    }


def summary(document: dict[str, Any]) -> list[str]:
    """What the command prints: files, counts, the harmful rows and where they are, the mix and its bad rows."""
    config, mix, counts = document["config"], document["mix"], document["counts"]
    lines = [f"{config['format']} → {config['out']}"]
    lines += [f"  {file['path']}: {file['rows']:,} rows" for file in document["files"] if file["rows"]]
    lines.append("  " + " · ".join(f"{count:,} {name}" for name, count in counts.items()))
    lines.append("  " + _harm_line(config["format"], counts))
    if mix:
        lines.append(
            f"  mix {mix['name']}: {mix['rows']:,} of {mix['asked']:,} rows asked for, third-party, marked in `source`"
        )
        lines.append(
            f"    {mix['read']:,} read, {mix['duplicates']:,} in the set already, {mix['bad_rows']:,} bad"
            + (":" if mix["bad"] else "")
        )
        lines += [f"    bad: {bad}" for bad in mix["bad"]]
    return lines + [f"  note: {note}" for note in document["notes"]]


def _harm_line(form: str, counts: dict[str, int]) -> str:
    harmful = counts.get("contains_harmful", 0)
    if harmful:
        return f"{harmful:,} pairs hold harmful text (their rejected answers): keep this export private"
    if form in ("trl", "llava"):
        return "no harmful text: rows with contains_harmful go into preference formats only (trl-dpo, trl-kto)"
    return "no row holds harmful text"
