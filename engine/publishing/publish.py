"""`engine.publish`: from a sealed run (or a trained model) to the Hub, or to the folder that would go there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.config import PublishConfig
from engine.errors import UsageError
from engine.publishing import card, models, picture
from engine.publishing.data import Written, seal, splits_of, write_data, write_seal
from engine.publishing.facts import card_facts
from engine.publishing.folders import PICTURE, refuse_foreign, whole
from engine.publishing.hub import Hub, load_client
from engine.publishing.licences import hub_word, spdx
from engine.publishing.push import CARD, Pusher, Target, publish_all
from engine.publishing.readback import checker
from engine.publishing.secrets import Redactor
from engine.publishing.source import Source, open_source
from engine.sources.hub import HUB_ID

PREFERENCE = "-preference"


@dataclass
class Published:
    """What was written or pushed: per repository its folder, rows, commit, and notes."""

    dry_run: bool
    repos: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def publish(run: str | None, config: PublishConfig, sleep: Callable[[float], None] = time.sleep) -> Published:
    """Publish the run (or `config.adapter`). `sleep` waits between tries.

    Raises UsageError for what may not be published, flags, or a token that may not do it; OutputError where the Hub
    does not answer, changed meanwhile, or holds other bytes than were sent. Until the last step nothing is visible.
    """
    config = _checked(run, config)
    if run is not None:
        config = replace(config, run=config.run or (run,))
    if config.dry_run:
        return _write(run, config, Path(str(config.out)), None)
    if run is not None:
        _refuse_scripted(open_source(run, config.run, allow_partial=config.allow_partial))
    hub = Hub(config.token_env, sleep=sleep)
    if not sys.stderr.isatty():
        load_client().utils.disable_progress_bars()
    with hub.redact.logs(), _work(config) as folder:
        hub.patiently("asking the Hub who the token belongs to", hub.api.whoami)
        return _push(run, config, folder, hub)


def _checked(run: str | None, config: PublishConfig) -> PublishConfig:
    """Flags that do not go together, before anything is read. Identifiers in their own spelling."""
    if (run is None) == (config.adapter is None):
        raise UsageError("expected either RUN (a sealed, curated run) or --adapter DIR (a trained model)")
    if config.repo is None or HUB_ID.fullmatch(config.repo) is None:
        raise UsageError(f"--repo {config.repo}: expected ORG/NAME")
    if config.dry_run and not config.out:
        raise UsageError("--dry-run writes a folder: name it with --out DIR")
    if config.out and "://" in config.out:
        raise UsageError(f"--out {config.out}: expected a local folder")
    if config.card and not config.dry_run:
        raise UsageError("--card is for dry runs; a push merges with the card that is on the Hub")
    if config.embed_images != (config.licence_ok is not None):
        raise UsageError("--embed-images and --licence-ok SPDX go together: say under which licence you may do it")
    if config.scores and not config.adapter:
        raise UsageError("--scores goes with --adapter")
    if config.adapter and (config.include_rejected or config.embed_images):
        raise UsageError("--adapter publishes a model; --include-rejected and --embed-images are for runs")
    return replace(
        config, licence_ok=spdx(config.licence_ok, "--licence-ok"), licence=spdx(config.licence, "--licence")
    )


def _refuse_scripted(source: Source) -> None:
    if source.scripted:
        raise UsageError(
            f"{source.curated.store.url}: a scripted run (no model answered) is not published; "
            "--dry-run --out DIR writes the folder and says so on the card"
        )


# --- a dry run -----------------------------------------------------------------------------------------------------


def _write(run: str | None, config: PublishConfig, out: Path, hub: Hub | None) -> Published:
    """The folders as they would be pushed, each put in its place whole."""
    done = Published(dry_run=True)
    existing = _existing(config)
    redact = Redactor([os.environ.get(config.token_env)]) if hub is None else hub.redact
    for target in _targets(config, out):
        refuse_foreign(target.folder, _untouched(config))
        with whole(target.folder) as folder:
            notes = _fill(run, config, replace(target, folder=folder), existing)
            redact.check(folder)
        done.repos.append({"repo": target.repo, "folder": str(target.folder), "files": _sizes(target.folder)})
        done.notes += notes
    return done


def _existing(config: PublishConfig) -> str | None:
    if config.card is None:
        return None
    try:
        return Path(config.card).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--card {config.card}: cannot be read ({error})") from error


def _targets(config: PublishConfig, out: Path) -> list[Target]:
    """The repositories, and their folders: OUT, and OUT-preference beside it."""
    kind, message = (
        ("model", "Publish a model with ecso-engine") if config.adapter else ("dataset", "Publish a data set")
    )
    message = message if config.adapter else f"{message} with ecso-engine"
    targets = [Target(str(config.repo), kind, out, private=not config.public, message=message)]
    if config.include_rejected:
        beside = out.with_name(out.name + PREFERENCE)
        targets.append(Target(f"{config.repo}{PREFERENCE}", kind, beside, gated=True, message=message))
    return targets


def _untouched(config: PublishConfig) -> list[str]:
    """Folders that are only read."""
    return [*filter(None, [config.adapter]), *config.run]


# --- filling a folder ----------------------------------------------------------------------------------------------


def _fill(run: str | None, config: PublishConfig, target: Target, existing: str | None) -> list[str]:
    """Everything that goes into one repository; notes."""
    if run is None:
        return models.write_model(config, target.folder, target.repo, existing)
    source, written = _fill_data(run, config, target)
    return [*written.notes, *_write_card(source, written, config, target, existing)]


def _fill_data(run: str, config: PublishConfig, target: Target) -> tuple[Source, Written]:
    source = open_source(run, config.run, allow_partial=config.allow_partial)
    table = "preference" if target.gated else "sft"
    if source.curated.rows(table) == 0:
        raise UsageError(f"{run}: no rows in {table}/ (only ecso makes preference pairs); leave --include-rejected out")
    written = write_data(source, table, config, splits_of(source, config), target.folder)
    write_seal(target.folder, seal(written, source, config, target.repo))
    return source, written


def _write_card(
    source: Source, written: Written, config: PublishConfig, target: Target, existing: str | None
) -> list[str]:
    """README.md and its picture; notes of the merge."""
    facts = card_facts(source, written, config, target.repo)
    licence = hub_word(config.licence or config.licence_ok)
    fresh = card.render("dataset", card.dataset_data(facts, licence, _info(written)), facts)
    merged = card.merge(fresh, existing)
    (target.folder / PICTURE).write_bytes(picture.draw(facts))
    (target.folder / CARD).write_text(merged.text, "utf-8")
    return merged.notes


def _info(written: Written) -> dict[str, Any]:
    """`dataset_info` of the YAML block, as datasets itself writes it: features, and rows of every split."""
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict

    splits = SplitDict()
    for split, rows in written.rows.items():
        splits.add(SplitInfo(split, num_bytes=written.arrow_bytes[split], num_examples=rows))
    features = Features.from_arrow_schema(written.form.published)
    files = sum(file["size"] for file in written.files)
    size = sum(written.arrow_bytes.values())
    info = DatasetInfo(features=features, splits=splits, download_size=files, dataset_size=size)
    data = load_client().DatasetCardData()
    DatasetInfosDict({card.CONFIG: info}).to_dataset_card_data(data)
    return dict(data.to_dict()["dataset_info"])


def _sizes(folder: Path) -> list[tuple[str, int]]:
    return [
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


# --- a push --------------------------------------------------------------------------------------------------------


@contextmanager
def _work(config: PublishConfig) -> Iterator[Path]:
    """Where folders are made before they go up: --out, which is kept, or a temporary one."""
    for target in _targets(config, Path(config.out)) if config.out else ():
        refuse_foreign(target.folder, _untouched(config))
    made = nullcontext(str(config.out)) if config.out else tempfile.TemporaryDirectory(prefix="ecso-publish-")
    with made as folder:
        yield Path(folder) if config.out else Path(folder) / "main"


def _push(run: str | None, config: PublishConfig, out: Path, hub: Hub) -> Published:
    done = Published(dry_run=False)
    filled: dict[str, tuple[Source, Written]] = {}
    targets = _targets(config, out)
    for target in targets:
        if run is not None:
            shutil.rmtree(target.folder, ignore_errors=True)
            filled[target.repo] = _fill_data(run, config, target)
            done.notes += filled[target.repo][1].notes

    def write_card(target: Target, existing: str | None) -> None:
        if target.repo in filled:
            done.notes.extend(_write_card(*filled[target.repo], config, target, existing))
        else:
            done.notes.extend(models.write_model(config, target.folder, target.repo, existing))

    publish_all(Pusher(hub, checker(config.read_back)), targets, write_card)
    for target in targets:
        done.repos.append(
            {"repo": target.repo, "commit": target.done, "changed": bool(target.staged), "files": _sizes(target.folder)}
        )
        done.notes += target.notes
    return done


def summary(done: Published) -> list[str]:
    """What the command prints."""
    lines = []
    for each in done.repos:
        size = sum(size for _, size in each["files"])
        what = f"{len(each['files'])} files, {size:,} bytes"
        if done.dry_run:
            lines.append(f"dry run: {each['folder']} is what would be pushed to {each['repo']} ({what})")
        else:
            state = "pushed and read back" if each["changed"] else "is there already; read back"
            lines.append(f"{each['repo']}: {state} ({what}), commit {each['commit'][:12]}")
    return lines + [f"note: {note}" for note in done.notes]
