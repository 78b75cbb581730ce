"""What the page draws of a benchmark: rates by scenario, and the few figures that stand for the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from engine.evaluation.benchmarks.base import Metric

SUMS = (
    *("all", "macro8", "macro13", "unsafes", "safe_unsafes", "safe_safes", "perception", "cognition"),
    *("truthfulness", "overall"),
)
LANGUAGES = ("-en", "-zh")
"""Groups that are sums over others or subsets (endings of one language), no scenarios."""
DRAWN = {
    "safety": ("harmless_rate", "score", "par"),
    "over_refusal": ("refusal_rate",),
    "utility": ("accuracy", "score"),
}
"""What is drawn by group, for each kind of benchmark."""
HEADLINES = {
    "safety": (
        ("harmless_rate", ("macro8", "all")),
        ("refusal_rate", ("safe_safes", "benign")),
        ("score", ("all",)),
        ("par", ("overall",)),
        ("asd", ("overall",)),
    ),
    "over_refusal": (("refusal_rate", ("all",)),),
    "utility": (("score", ("perception", "cognition")), ("score", ("all",)), ("accuracy", ("all",))),
}
"""The figures of a benchmark that stand in the summary: (name, groups; the first that is there, perception and
cognition both)."""
FEWEST_SPOKES = 3
WORDS = {
    "harmless_rate": "harmless answers",
    "refusal_rate": "refusals",
    "accuracy": "right answers",
    "acc_plus": "both questions right",
    "score": "score",
    "asr": "attack success",
    "par": "perfect answers (PAR)",
    "asd": "attack success degree (ASD)",
}
LOWER_IS_BETTER = ("refusal_rate", "asd")


class Sheet(NamedTuple):
    """One benchmark: its metrics, one list a series (an empty one where a series has none)."""

    label: str
    kind: str
    note: str
    series: Sequence[Sequence[Metric]]


class Line(NamedTuple):
    """One group: a metric a series."""

    group: str
    cells: list[Metric | None]
    is_sum: bool

    @property
    def n(self) -> int:
        return max((cell.n for cell in self.cells if cell is not None), default=0)


class Panel(NamedTuple):
    """One metric of one part, by one judge, over its groups."""

    benchmark: str
    kind: str
    metric: str
    words: str
    part: str
    judge: str | None
    unit: str
    lines: list[Line]
    spokes: list[Line]
    """The groups of a radar, or none."""
    is_first: bool
    """By code, or by the benchmark's first judge: shown openly, the others in a closed box."""


class Headline(NamedTuple):
    """One figure of the summary. `better`: up or down."""

    benchmark: str
    kind: str
    words: str
    judge: str | None
    unit: str
    better: str
    cells: list[Metric | None]


def panels(sheet: Sheet) -> list[Panel]:
    """One panel for each drawn metric, part and judge, in the scorer's order."""
    keys = list(
        dict.fromkeys(
            (metric.name, metric.part, metric.judge)
            for metrics in sheet.series
            for metric in metrics
            if metric.name in DRAWN[sheet.kind]
        )
    )
    judges = list(dict.fromkeys(judge for _, _, judge in keys))
    first = (None, next((judge for judge in judges if judge is not None), None))  # by code, and by the first judge
    return [_panel(sheet, *key, is_first=key[2] in first) for key in sorted(keys, key=lambda k: judges.index(k[2]))]


def is_sum(group: str) -> bool:
    """A sum or a subset, no scenario."""
    return group in SUMS or group.endswith(LANGUAGES)


def _panel(sheet: Sheet, name: str, part: str, judge: str | None, *, is_first: bool) -> Panel:
    mine = [
        {metric.group: metric for metric in metrics if (metric.name, metric.part, metric.judge) == (name, part, judge)}
        for metrics in sheet.series
    ]
    groups = list(dict.fromkeys(group for by_group in mine for group in by_group))
    lines = [Line(group, [each.get(group) for each in mine], is_sum(group)) for group in groups]
    lines.sort(key=lambda line: (line.is_sum, line.group == "all"))
    unit = next(cell.unit for line in lines for cell in line.cells if cell is not None)
    spokes = [line for line in lines if not line.is_sum] if unit == "share" else []
    if len(spokes) < FEWEST_SPOKES:
        spokes = []
    return Panel(sheet.label, sheet.kind, name, WORDS[name], part, judge, unit, lines, spokes, is_first)


def summary(sheet: Sheet) -> list[Headline]:
    """The figures that stand for the benchmark, by its first judge, for each part."""
    found = []
    for name, groups in HEADLINES[sheet.kind]:
        metrics = [metric for each in sheet.series for metric in each if metric.name == name and metric.group in groups]
        judges = list(dict.fromkeys(metric.judge for metric in metrics))
        parts = list(dict.fromkeys(metric.part for metric in metrics))
        for part in parts:
            there = [group for group in groups if any((m.part, m.group) == (part, group) for m in metrics)]
            chosen = there if "perception" in groups else there[:1]
            found += [_headline(sheet, name, group, part, judges[0], len(parts) > 1) for group in chosen]
        if found and sheet.kind == "utility":
            break
    return found


def _headline(sheet: Sheet, name: str, group: str, part: str, judge: str | None, tell_part: bool) -> Headline:
    wanted = (name, group, part, judge)
    cells = [
        next((m for m in metrics if (m.name, m.group, m.part, m.judge) == wanted), None) for metrics in sheet.series
    ]
    unit = next(cell.unit for cell in cells if cell is not None)
    words = WORDS[name] if group == "all" else f"{WORDS[name]}, {group}"
    better = "down" if name in LOWER_IS_BETTER else "up"
    return Headline(sheet.label, sheet.kind, f"{words}, {part}" if tell_part else words, judge, unit, better, cells)
