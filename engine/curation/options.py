"""A curate config, checked and made ready: filters built, thresholds in place, before a row is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from engine.config import CurateConfig
from engine.curation.dedup import DedupOptions
from engine.curation.filters import DEFAULT, FILTERS, make
from engine.curation.filters.base import Filter
from engine.curation.reviewed import STEP as REVIEWED
from engine.curation.writing import LATE
from engine.errors import UsageError
from engine.registry import facts_of

ReadPicture = Callable[[str], bytes]
PICTURE_OPTION = "pictures"
NEEDS_PICTURES = frozenset({"picture_quality"})


@dataclass(frozen=True)
class Options:
    """What the passes need of the config. `dedup` None: none but identical rows."""

    chosen: tuple[tuple[str, Mapping[str, Any]], ...]
    annotations: tuple[str, ...]
    dedup: DedupOptions | None
    leakage: str
    leakage_index: tuple[str, ...]
    workers: int
    reviewed: str | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """Every step after the source's own duplicates, in the order of the funnel."""
        first = () if self.reviewed is None else (REVIEWED,)
        return (*first, *(name for name, _ in self.chosen), *LATE)

    def strangers(self) -> dict[str, dict[str, str]]:
        """The filters from outside the engine: whose they are, and the digest of their code."""
        every = {name: facts_of("filters", name, FILTERS) for name, _ in self.chosen}
        return {name: facts for name, facts in every.items() if facts is not None}

    def filters(
        self, read_picture: ReadPicture, calibration: Mapping[str, Any] | None = None
    ) -> list[tuple[str, Filter]]:
        """The filters in order, for one run's pictures; `calibration` is what the run's manifest keeps of its own."""
        more: dict[str, dict[str, Any]] = {name: {PICTURE_OPTION: read_picture} for name in NEEDS_PICTURES}
        if calibration is not None:
            more["verdict"] = {"threshold": calibration["threshold"]}
            if calibration["abstain"] is not None:
                more["verdict"] |= dict(zip(("abstain_low", "abstain_high"), calibration["abstain"], strict=True))
        # What the config says goes before what the run says.
        return [(name, make(name, {**more.get(name, {}), **given})) for name, given in self.chosen]


def options_of(config: CurateConfig) -> Options:
    """Raises UsageError for a filter or option that does not exist, a filter named twice, or a senseless value."""
    chosen = tuple(_named(config.filters))
    names = [name for name, _ in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"filters: {', '.join(twice)} stands twice")
    for name, given in chosen:
        if name not in NEEDS_PICTURES:
            make(name, given)  # a misspelt name or option fails here
    return Options(
        chosen,
        tuple(config.annotations),
        _dedup(config.dedup),
        config.leakage,
        tuple(config.leakage_index),
        config.workers,
        config.reviewed,
    )


def _named(filters: Sequence[str | Mapping[str, Any]] | None) -> list[tuple[str, Mapping[str, Any]]]:
    if filters is None:
        return [(name, {}) for name in DEFAULT]
    found: list[tuple[str, Mapping[str, Any]]] = []
    for entry in filters:
        if isinstance(entry, str):
            found.append((entry, {}))
        else:
            found += [(name, given or {}) for name, given in entry.items()]
    return found


def _dedup(given: Mapping[str, Any] | bool) -> DedupOptions | None:
    if isinstance(given, bool):
        return DedupOptions() if given else None
    known = DedupOptions.__dataclass_fields__
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise UsageError(f"dedup has no option {name!r}" + (f"; did you mean {close[0]}?" if close else ""))
    return DedupOptions(**given)
