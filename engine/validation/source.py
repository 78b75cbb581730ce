"""Config and source: counts, kinds of rows, the first bad ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from engine.errors import SourceError
from engine.pictures import PictureCaps
from engine.planning import plan_job
from engine.preview.choose import stratum_of
from engine.sources import SourceConfig, SourceRow, iter_rows, load, open_source, select
from engine.validation.check import Check, Context, failed, passed, skipped, warned

SHOWN = 5
"""Bad rows that are named."""


def source(context: Context) -> Iterable[Check]:
    """Open it, count its rows."""
    config = context.generate
    found = open_source(
        SourceConfig(config.queries, config.path, config.split, dict(config.columns), config.source_revision)
    )
    context.plan = select(found.windows(), where=dict(config.where), limit=config.limit)
    if not context.plan.total:
        yield failed("source", "no row", "look at --where, --split and --path")
        return
    yield passed("source", f"{context.plan.total:,} rows of {config.queries}")


def rows(context: Context) -> Iterable[Check]:
    """Every row's reference, and the pictures of some."""
    if context.plan is None:
        yield skipped("rows", "the source did not open")
        return
    kinds: Counter[tuple[str, str]] = Counter()
    bad: list[str] = []
    count = 0
    for row in _every(context):
        kinds[stratum_of(row.category, row.label_safe)] += 1
        if row.problem is not None:
            count += 1
            bad += [f"{row.key}: {row.problem}"][: SHOWN - len(bad)]
    yield from _bad_rows("rows", count, context.plan.total, bad, context)
    most = ", ".join(f"{name} ({label}) {number:,}" for (name, label), number in kinds.most_common(4))
    more = f" and {len(kinds) - 4} more" if len(kinds) > 4 else ""
    yield passed("kinds", f"{most}{more}")


def pictures(context: Context) -> Iterable[Check]:
    """Read and decode the pictures of rows spread over the source."""
    if context.plan is None:
        yield skipped("pictures", "the source did not open")
        return
    wanted = context.validate.sample or context.plan.total
    every = max(1, context.plan.total // wanted)
    caps, bad, read, size = PictureCaps(), list[str](), 0, 0
    count = 0
    for number, row in enumerate(_every(context)):
        if number % every or row.problem is not None:
            continue
        try:
            query = load(row, caps=caps)
        except SourceError as error:
            count += 1
            bad += [str(error)][: SHOWN - len(bad)]
            continue
        read += 1
        size += sum(len(picture.data) for picture in query.pictures)
    context.picture_bytes = size / max(1, read)
    yield from _bad_rows("pictures", count, read + count, bad, context)


def _bad_rows(name: str, count: int, total: int, bad: list[str], context: Context) -> Iterator[Check]:
    if not count:
        yield passed(name, f"{total:,} looked at, none bad")
        return
    words = f"{count:,} of {total:,} cannot be read. The first: " + "; ".join(bad)
    if count / max(1, total) > context.generate.max_error_rate:
        yield failed(name, words, "mend the rows, or check --path and --columns: so many would trip the breaker")
    else:
        yield warned(name, words, "they become rows with error_stage=source; mend them, or leave them")


def _every(context: Context) -> Iterator[SourceRow]:
    assert context.plan is not None
    for window, selection in context.plan.windows:
        yield from iter_rows(window, selection)


def config(context: Context) -> Iterable[Check]:
    """Strategy, preset, backend, calibration, adapter, model name: all that planning resolves."""
    context.job = plan_job(context.generate)
    job = context.job
    yield passed(
        "config", f"{job.config.strategy}, {job.backend.name}, model {job.model}, fingerprint {job.fingerprint[:8]}"
    )
