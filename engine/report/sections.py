"""curation.json as the page shows it. A section that is missing or null is None: the page says "not computed".

Lists are cut to what a page can hold, and say how much was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from engine.errors import UsageError
from engine.report import words

T = TypeVar("T")
GROUPS = 40
"""Categories or sources in a table."""
LISTED = 25
"""Cues, response clusters or leakage pairs in a table."""
CLUSTERS = 12
"""Duplicate clusters with pictures."""
MEMBERS = 4
"""Dropped rows shown of one cluster."""


class Step(NamedTuple):
    name: str
    rows_in: int
    dropped: int
    rows_out: int
    reasons: list[tuple[str, int]]


class Group(NamedTuple):
    """One category or source: rows after each step, the first figure before any."""

    name: str
    rows: list[int]


class Funnel(NamedTuple):
    steps: list[Step]
    categories: list[Group]
    sources: list[Group]
    more_categories: int
    more_sources: int

    @property
    def active(self) -> list[int]:
        """The steps that dropped something, by their place."""
        return [place for place, step in enumerate(self.steps) if step.dropped]

    @property
    def idle(self) -> list[str]:
        """The names of the others."""
        return [step.name for step in self.steps if not step.dropped]


class Cue(NamedTuple):
    cue: str
    rows: int
    refused: int
    share: float


class Cues(NamedTuple):
    """One audit. `base`: share of refusals over all rows, or None."""

    when: str
    auc: float | None
    n: int
    n_refused: int
    base: float | None
    folds: int | None
    top: list[Cue]


class Member(NamedTuple):
    query_id: str
    kind: str
    similarity: float | None
    distance: int | None


class Cluster(NamedTuple):
    kept: str
    dropped: list[Member]
    more: int


class Duplicates(NamedTuple):
    kinds: list[tuple[str, int]]
    total: int
    clusters: list[Cluster]
    more: int


class Leak(NamedTuple):
    query_id: str
    benchmark: str
    key: str
    kind: str
    similarity: float | None


class Leakage(NamedTuple):
    action: str
    indexes: list[str]
    matched: int
    benchmarks: list[tuple[str, int]]
    pairs: list[Leak]
    more: int


class Answers(NamedTuple):
    """One cluster of alike responses: `size` before the caps, `share` of the set after them, its biggest categories."""

    size: int
    kept: int
    share: float
    example: str
    categories: list[tuple[str, int]]


class Diversity(NamedTuple):
    """`rows`: responses that distinct-n was counted on. `capped`: rows that the response cap removed."""

    distinct: list[tuple[int, float]]
    rows: int
    clusters: list[Answers]
    more: int
    capped: int


class Sections(NamedTuple):
    funnel: Funnel | None
    cues: list[Cues] | None
    cues_note: str | None
    duplicates: Duplicates | None
    leakage: Leakage | None
    diversity: Diversity | None
    counterfactuals: list[tuple[str, str]] | None


def read(curation: Mapping[str, Any], where: str) -> Sections:
    """Every section. UsageError names the one that is not of the expected form."""

    def section(name: str, reader: Callable[[Any], T | None]) -> T | None:
        found = curation.get(name)
        if found is None:
            return None
        try:
            return reader(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{where}: section {name!r} is not as expected ({type(error).__name__}: {error})"
            ) from error

    note = curation.get("cues_note")
    return Sections(
        funnel=section("funnel", _funnel),
        cues=section("cues", _cues),
        cues_note=None if note is None else str(note),
        duplicates=section("duplicates", _duplicates),
        leakage=section("leakage", _leakage),
        diversity=section("diversity", _diversity),
        counterfactuals=section("counterfactuals", _facts),
    )


def name_of(value: object) -> str:
    """A category or source as a table shows it."""
    return words.short("(none)" if value in (None, "", "null", "None") else str(value))


def _largest(counts: Mapping[str, Any]) -> list[tuple[str, int]]:
    return sorted(
        ((name_of(key), int(value)) for key, value in counts.items() if value), key=lambda item: (-item[1], item[0])
    )


def _funnel(found: Sequence[Mapping[str, Any]]) -> Funnel | None:
    if not found:
        return None
    steps = [
        Step(
            name_of(step["step"]),
            int(step["rows_in"]),
            int(step["dropped"]),
            int(step["rows_out"]),
            _reasons(step),
        )
        for step in found
    ]
    categories, more_categories = _groups(found, "per_category")
    sources, more_sources = _groups(found, "per_source")
    return Funnel(steps, categories, sources, more_categories, more_sources)


def _reasons(step: Mapping[str, Any]) -> list[tuple[str, int]]:
    """None where the step has only one, of its own name."""
    reasons = _largest(step.get("reasons") or {})[:LISTED]
    return [] if [name for name, _ in reasons] == [step["step"]] else reasons


def _groups(found: Sequence[Mapping[str, Any]], key: str) -> tuple[list[Group], int]:
    """Groups by their rows at the start, largest first. A group that a step does not name is empty from there on."""
    names = {name: None for step in found for name in step.get(key) or {}}
    rows: dict[str, list[int]] = {name: [] for name in names}
    for place, step in enumerate(found):
        per = step.get(key) or {}
        for name, column in rows.items():
            before, after = per.get(name) or (column[-1] if column else 0, 0)
            column.extend([int(after)] if place else [int(before), int(after)])
    groups = sorted((Group(name_of(name), column) for name, column in rows.items()), key=lambda g: (-g.rows[0], g.name))
    return groups[:GROUPS], max(0, len(groups) - GROUPS)


def _cues(found: Mapping[str, Any]) -> list[Cues] | None:
    """One audit, or two: `before` (without counterfactual queries) and `after` (with them)."""
    parts = [(when, found[when]) for when in ("before", "after") if isinstance(found.get(when), Mapping)]
    return [_audit(when, part) for when, part in parts or [("", found)]]


def _audit(when: str, found: Mapping[str, Any]) -> Cues:
    n, refused = int(found["n"]), int(found["n_refused"])
    top = [
        Cue(name_of(cue["cue"]), int(cue["rows"]), int(cue["refused"]), float(cue["share"]))
        for cue in (found.get("top") or [])[:LISTED]
    ]
    auc, folds = found.get("auc"), found.get("folds")
    return Cues(
        when=when,
        auc=None if auc is None else float(auc),
        n=n,
        n_refused=refused,
        base=refused / n if n else None,
        folds=None if folds is None else int(folds),
        top=top,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _duplicates(found: Mapping[str, Any]) -> Duplicates:
    kinds = [
        (name, int(found[name])) for name in ("exact", "text", "picture", "text+picture", "semantic") if name in found
    ]
    clusters = sorted(found.get("clusters") or [], key=lambda each: -_size(each))
    shown = [
        Cluster(
            str(each["kept"]),
            [_member(row) for row in each["dropped"][:MEMBERS]],
            max(0, _size(each) - MEMBERS),
        )
        for each in clusters[:CLUSTERS]
    ]
    return Duplicates(kinds, sum(count for _, count in kinds), shown, max(0, len(clusters) - CLUSTERS))


def _size(cluster: Mapping[str, Any]) -> int:
    """Rows that were dropped for the kept one; curation.json lists the first of them."""
    return int(cluster.get("size", len(cluster["dropped"])))


def _member(row: Mapping[str, Any]) -> Member:
    distance = row.get("distance")
    return Member(
        str(row["query_id"]),
        str(row["kind"]),
        _number(row.get("similarity")),
        None if distance is None else int(distance),
    )


def _leakage(found: Mapping[str, Any]) -> Leakage:
    pairs = found.get("pairs") or []
    return Leakage(
        action=str(found.get("action") or "off"),
        indexes=[name_of(_index_name(each)) for each in (found.get("indexes") or [])[:LISTED]],
        matched=int(found.get("matched") or 0),
        benchmarks=_largest(found.get("per_benchmark") or {})[:LISTED],
        pairs=[
            Leak(
                str(each["query_id"]),
                name_of(each["benchmark"]),
                name_of(each["key"]),
                str(each["kind"]),
                _number(each.get("similarity")),
            )
            for each in pairs[:LISTED]
        ],
        more=max(0, len(pairs) - LISTED),
    )


def _index_name(index: Any) -> object:
    """An index is a name, or an object with one."""
    return index.get("name") or index.get("benchmark") or index.get("path") if isinstance(index, Mapping) else index


def _diversity(found: Mapping[str, Any]) -> Diversity:
    rows = int(found["rows"])
    clusters = sorted(found.get("clusters") or [], key=lambda each: -int(each["size"]))
    shown = [
        Answers(
            size=int(each["size"]),
            kept=int(each["kept"]),
            share=float(each["share"]),
            example=str(each["example"])[:400],
            categories=_largest(each.get("categories") or {})[:3],
        )
        for each in clusters[:LISTED]
    ]
    distinct = [(n, float(found[f"distinct_{n}"])) for n in (1, 2, 3) if found.get(f"distinct_{n}") is not None]
    capped = found.get("capped") or 0
    return Diversity(distinct, rows, shown, max(0, len(clusters) - LISTED), int(capped))


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name_of(key), words.short(str(value))) for key, value in list(found.items())[:LISTED]]
