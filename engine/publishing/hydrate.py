"""`engine.hydrate`: a published set whose pictures were left out, and the pictures, joined again.

Checked on the way: every shard against publication.json, every picture against its row. The result is the set as it
would have been published with its pictures: the same rows, bytes and files.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import HydrateConfig
from engine.errors import UsageError
from engine.export.read import sha256_of
from engine.journal.store import Store
from engine.publishing.data import DATA, SEAL, read_seal, write_seal
from engine.publishing.finding import Finder
from engine.publishing.folders import refuse_foreign, whole
from engine.publishing.hub import Hub
from engine.publishing.layout import CutWriter
from engine.publishing.splits import NAMES
from engine.publishing.tables import PICTURES, Form, form_of, put_in, rebatched
from engine.sources.hub import is_hub_id

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = "-hydrated"
REPORT = "missing-pictures.jsonl"
SHOWN = 10


@dataclass
class Hydrated:
    """What was joined. `missing`: sha256 -> (its name, query ids of its rows)."""

    out: Path
    rows: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    pictures: int = 0
    looked_at: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def hydrate(source: str, config: HydrateConfig) -> Hydrated:
    """Join the pictures of a published set (folder or Hub id) and write the whole set to `config.out`.

    UsageError: no such set, a shard is not the published one, or pictures are missing (named in OUT's
    missing-pictures.jsonl beside it) and `skip_missing` was not asked for: then nothing else is written.
    """
    if not config.pictures:
        raise UsageError("--pictures is missing: a folder, zip, tar or Parquet file that holds the pictures")
    with _folder(source, config) as folder:
        document = read_seal(folder)
        if document["form"] != "hydrate":
            raise UsageError(f"{source}: its pictures are inside already; load it as it is")
        form = form_of(document["table"], hydrate=True)
        _check(folder, document, form)
        out = Path(config.out or source.rstrip("/").rpartition("/")[2] + SUFFIX)
        refuse_foreign(out, [str(folder), *config.pictures])
        wanted = _wanted(folder, document)
        with Finder(wanted) as finder:
            for place in config.pictures:
                finder.look(place)
            done = Hydrated(out, pictures=len(wanted), looked_at=finder.looked_at, unreadable=finder.unreadable)
            done.missing = finder.missing
            if done.missing:
                _report_missing(folder, document, done, config)
            with whole(out) as target:
                _write(folder, document, form, finder, done, target)
    return done


@contextmanager
def _folder(source: str, config: HydrateConfig) -> Iterator[Path]:
    """The published folder: as given, or downloaded to the Hub client's cache."""
    if Path(source).is_dir():
        yield Path(source)
        return
    if not is_hub_id(source):
        raise UsageError(f"{source}: neither a folder nor ORG/NAME on the Hub")
    hub = Hub(config.token_env, need_token=False)
    with hub.redact.logs():
        yield Path(hub.patiently(f"downloading {source}", lambda: _download(hub, source, config.revision), tries=2))


def _download(hub: Hub, repo: str, revision: str | None) -> str:
    patterns = [SEAL, f"{DATA}/*.parquet"]
    return str(hub.api.snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=patterns))


def _check(folder: Path, document: dict[str, Any], form: Form) -> None:
    """UsageError unless every shard is the one that was published, with the columns that this engine writes."""
    import pyarrow.parquet as pq

    store = Store(str(folder))
    for file in document["files"]:
        path = folder / file["path"]
        if not path.is_file():
            raise UsageError(f"{path}: named by {SEAL}, but missing")
        found = sha256_of(store, file["path"])
        if found != file["sha256"]:
            raise UsageError(f"{path}: sha256 is {found}, {SEAL} says {file['sha256']}: not the published file")
        if not pq.read_schema(path).equals(form.published):
            raise UsageError(f"{path}: other columns than this engine publishes (engine {document['engine_version']})")


def _shards(folder: Path, document: dict[str, Any], split: str) -> Iterator[Path]:
    for file in document["files"]:
        if file["path"].startswith(f"{DATA}/{split}-"):
            yield folder / file["path"]


def _tables(folder: Path, document: dict[str, Any], split: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    for path in _shards(folder, document, split):
        shard = pq.ParquetFile(path)
        for group in range(shard.num_row_groups):
            yield shard.read_row_group(group, columns=columns)


def _wanted(folder: Path, document: dict[str, Any]) -> dict[str, int]:
    """sha256 -> bytes of every picture."""
    found: dict[str, int] = {}
    for split in document["splits"]:
        for table in _tables(folder, document, split, [PICTURES]):
            for row in table[PICTURES].to_pylist():
                found |= {each["sha256"]: each["size"] for each in row}
    return found


def _report_missing(folder: Path, document: dict[str, Any], done: Hydrated, config: HydrateConfig) -> None:
    """Write which pictures are missing and whose rows they are; UsageError unless such rows are to be left out."""
    missing = set(done.missing)
    facts: dict[str, dict[str, Any]] = {}
    rows: Counter[str] = Counter()
    for split in document["splits"]:
        for table in _tables(folder, document, split, ["query_id", "source", "source_key", PICTURES]):
            for row in table.to_pylist():
                for each in row[PICTURES]:
                    if each["sha256"] in missing:
                        rows[each["sha256"]] += 1
                        facts.setdefault(each["sha256"], {**each, "source": row["source"], "row": row["source_key"]})
    report = done.out.with_name(f"{done.out.name}-{REPORT}")
    lines = [json.dumps({**facts[sha], "rows": rows[sha]}, ensure_ascii=False) for sha in done.missing]
    Store(str(report.parent)).write(report.name, ("\n".join(lines) + "\n").encode())
    if config.skip_missing:
        return
    names = "\n".join(f"  {sha} ({facts[sha]['source']}: {facts[sha]['row']})" for sha in done.missing[:SHOWN])
    more = f"\n  and {len(done.missing) - SHOWN:,} more" if len(done.missing) > SHOWN else ""
    raise UsageError(
        f"{len(done.missing):,} of {done.pictures:,} pictures were not found among {done.looked_at:,} files in "
        f"{', '.join(config.pictures)}:\n{names}{more}\nAll of them are listed in {report}. Pass further --pictures, "
        "or --skip-missing to leave their rows out. Nothing else was written"
    )


def _write(folder: Path, document: dict[str, Any], form: Form, finder: Finder, done: Hydrated, target: Path) -> None:
    """The shards with pictures, and publication.json of the joined set."""
    store = Store(str(target))
    missing, splits = set(done.missing), {}
    for split in NAMES:
        if split not in document["splits"]:
            continue
        cut = document["splits"][split]["row_groups"]
        sizes = [(shard, size) for shard, groups in enumerate(cut) for size in groups]
        with CutWriter(store, DATA, form.embedded, name_prefix=f"{split}-") as writer:
            tables = rebatched(_tables(folder, document, split), [size for _, size in sizes])
            for (shard, _), batch in zip(sizes, tables, strict=True):
                kept = _without(batch, missing) if missing else batch
                done.left_out += batch.num_rows - kept.num_rows
                writer.group(put_in(kept, finder.read, form.embedded), shard)
        if not writer.layout:
            for made in writer.shards:
                store.remove(made.path)
            continue
        done.rows[split] = sum(map(sum, writer.layout))
        splits[split] = {"rows": done.rows[split], "row_groups": writer.layout}
        done.files += [{**made.entry(), "size": (target / made.path).stat().st_size} for made in writer.shards]
    if not splits:
        raise UsageError("no row has all of its pictures; nothing was written")
    changes = {"form": "embedded", "splits": splits, "columns": form.embedded.names, "files": done.files}
    write_seal(target, document | changes)


def _without(batch: pa.Table, missing: set[str]) -> pa.Table:
    rows = batch[PICTURES].to_pylist()
    return batch.take([place for place, row in enumerate(rows) if not any(each["sha256"] in missing for each in row)])


def summary(done: Hydrated) -> list[str]:
    """What the command prints."""
    rows = ", ".join(f"{count:,} {split}" for split, count in done.rows.items())
    found = done.pictures - len(done.missing)
    lines = [f"{done.out}: {rows} rows; {found:,} of {done.pictures:,} pictures found, every checksum verified"]
    if done.left_out:
        lines.append(f"{done.left_out:,} rows left out: {len(done.missing):,} pictures missing ({done.out}-{REPORT})")
    return lines + [f"note: not read: {each}" for each in done.unreadable[:SHOWN]]
