"""Caps: how many rows of one response cluster, category or source a set may hold, and safe rows beside unsafe ones.

All choices go by the stated order (`ledger.quality`), so they are the same whatever the partitioning.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engine.config import CurateConfig
from engine.curation.ledger import Ledger
from engine.errors import UsageError

Positions = npt.NDArray[np.int64]


def fit(ledger: Ledger, config: CurateConfig) -> None:
    """All caps of the config. The response cap comes first and last: what the others cut makes the share of a cluster
    larger again. So `max_share` always holds, and shares and safe : unsafe are targets that it may leave a little
    short."""
    response_cap(ledger, config.max_share, config.least_rows)
    cap(ledger, "category", config.cap_category)
    cap(ledger, "source", config.cap_source)
    shares(ledger, "category", config.share_category)
    shares(ledger, "source", config.share_source)
    safe_to_unsafe(ledger, config.safe_to_unsafe)
    response_cap(ledger, config.max_share, config.least_rows)


def words(config: CurateConfig) -> dict[str, str]:
    """What each cap says as the evidence of a row that it drops."""
    share = f"at most {config.max_share:.0%} of the set (or {config.least_rows} rows)"
    return {
        "response_cap": f"{share} for a cluster of like responses; better rows of it are kept",
        "category_cap": f"over the cap of its category ({_listed(config.cap_category)}); better rows are kept",
        "source_cap": f"over the cap of its source ({_listed(config.cap_source)}); better rows are kept",
        "category_share": f"over the share of its category ({_listed(config.share_category)}); better rows are kept",
        "source_share": f"over the share of its source ({_listed(config.share_source)}); better rows are kept",
        "safe_to_unsafe": f"over {config.safe_to_unsafe} safe rows for each unsafe one; better rows are kept",
    }


def _listed(limits: Mapping[str, int] | Mapping[str, float]) -> str:
    return ", ".join(f"{name or 'none'} {limit:,}" for name, limit in limits.items())


def response_cap(ledger: Ledger, max_share: float, least: int) -> None:
    """At most `max_share` of the resulting set per response cluster (or `least` rows: a small set is not emptied).

    Of a cluster, rows are taken in turn from each category, the best of each first.
    """
    kept = ledger.kept()
    clusters, inverse = np.unique(ledger.column("cluster")[kept], return_inverse=True)
    if not len(clusters):
        return
    limit = _limit(np.bincount(inverse), max_share, least)
    rank, category = ledger.column("rank")[kept], ledger.column("category")[kept]
    turn = ordinal(rank, inverse, category)
    place = ordinal(rank, inverse, first=turn)
    ledger.drop(kept[place >= limit], "response_cap", "response_cap")


def _limit(sizes: npt.NDArray[np.int64], max_share: float, least: int) -> int:
    """The largest L with L <= max(least, max_share of what is left when every cluster is cut to L)."""
    low, high = least, max(least, int(sizes.max()))
    while low < high:
        middle = (low + high + 1) // 2
        if middle <= max_share * int(np.minimum(sizes, middle).sum()):
            low = middle
        else:
            high = middle - 1
    return low


def ordinal(
    rank: npt.NDArray[np.uint64], *groups: npt.NDArray[np.int64], first: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.int64]:
    """Each row's place (0 is best) among the rows of its group, by `first` where given, then by rank."""
    keys = (rank,) if first is None else (rank, first)
    order = np.lexsort((*keys, *reversed(groups)))
    new = np.zeros(len(order), dtype=bool)
    if len(order):
        new[0] = True
    for group in groups:
        new[1:] |= group[order][1:] != group[order][:-1]
    starts = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - starts
    return place


def cap(ledger: Ledger, column: str, limits: Mapping[str, int]) -> None:
    """At most so many rows per category or source; `*` stands for every name that is not listed, "" for no category."""
    if not limits:
        return
    kept = ledger.kept()
    names = (ledger.categories if column == "category" else ledger.sources).names
    numbers = ledger.column(column)[kept].astype(np.int64)
    rest = limits.get("*", len(ledger))
    most = np.array([limits.get(name, rest) for name in names] or [rest])
    place = ordinal(ledger.column("rank")[kept], numbers)
    ledger.drop(kept[place >= most[numbers]], f"{column}_cap", f"{column}_cap")


def shares(ledger: Ledger, column: str, targets: Mapping[str, float]) -> None:
    """The largest set in which every listed category or source has its share, and all that are not listed the rest.

    What is in surplus is cut. A listed name without a row asks for nothing. UsageError where the shares sum to more
    than 1.
    """
    if not targets:
        return
    if sum(targets.values()) > 1 + 1e-9:
        raise UsageError(f"share_{column}: the shares sum to {sum(targets.values()):g}; expected at most 1")
    kept = ledger.kept()
    names = list((ledger.categories if column == "category" else ledger.sources).names)
    numbers = ledger.column(column)[kept].astype(np.int64)
    listed = {names.index(name): share for name, share in targets.items() if name in names}
    group = np.array([number if number in listed else -1 for number in range(len(names))] or [-1])[numbers]
    counts = {number: int((group == number).sum()) for number in listed}
    wanted = {number: share for number, share in listed.items() if counts[number]}
    rest = 1 - sum(targets.values())
    if (group == -1).any() and rest > 1e-9:
        wanted[-1], counts[-1] = rest, int((group == -1).sum())
    whole = min((counts[number] / share for number, share in wanted.items()), default=0.0) * sum(wanted.values())
    most = {number: round(whole * share / sum(wanted.values())) for number, share in wanted.items()}
    place = ordinal(ledger.column("rank")[kept], group)
    limits = np.array([most.get(number, 0) for number in group.tolist()], dtype=np.int64)
    ledger.drop(kept[place >= limits], f"{column}_cap", f"{column}_share")


def safe_to_unsafe(ledger: Ledger, ratio: float | None) -> None:
    """Cut whichever side is in surplus, so that safe : unsafe is `ratio` : 1. Rows without a label stay."""
    if ratio is None:
        return
    kept = ledger.kept()
    label = ledger.column("label")[kept]
    safe, unsafe = kept[label == 1], kept[label == 0]
    most = (int(ratio * len(unsafe)), int(len(safe) / ratio) if ratio else len(unsafe))
    for positions, limit in ((safe, most[0]), (unsafe, most[1])):
        category = ledger.column("category")[positions].astype(np.int64)
        rank = ledger.column("rank")[positions]
        turn = ordinal(rank, category)
        place = ordinal(rank, np.zeros(len(positions), dtype=np.int64), first=turn)
        ledger.drop(positions[place >= limit], "safe_to_unsafe", "safe_to_unsafe")
