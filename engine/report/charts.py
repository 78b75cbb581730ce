"""Charts as fluid inline SVG: the reports' own drawing kit, without a plotting library.

Horizontal positions are per cent of the drawing's width and vertical ones pixels, so a chart fills its box on a phone
and on a wide screen with its text at one size. Colours are classes of style.css. Every text goes through markupsafe.

A track (`bar`, `intervals`) is drawn in a table row whose cells say the same in figures, so it is hidden from screen
readers; a free-standing chart (`histogram`, `flow`) has a title and a description, and its figures in a table beside
it. Where rows went from one label to another: flow.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
LANE = 13
"""Pixels from one series' lane to the next."""
SVG = Markup('<svg class="chart {kind}" width="100%" height="{height}" {access}>{body}</svg>')
HIDDEN = Markup('aria-hidden="true" focusable="false"')


class Mark(NamedTuple):
    """One point with its interval, each in 0..1. `series` is a colour and shape class: direct, final, third."""

    series: str
    share: float
    low: float
    high: float


class Bin(NamedTuple):
    """One bar of a histogram: [low, high) and its rows."""

    low: float
    high: float
    rows: int


def percent(share: float) -> str:
    """0.315 -> '31.5%' as an SVG length."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _grid(height: int) -> Markup:
    line = Markup('<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    return joined(line.format(x=percent(tick), height=height) for tick in TICKS)


def _track(kind: str, height: int, body: Markup) -> Markup:
    return SVG.format(kind=kind, height=height, access=HIDDEN, body=body)


def axis() -> Markup:
    """The scale 0 to 100 % for a column of tracks."""
    text = Markup('<text x="{x}" y="11" class="tick" text-anchor="middle">{label}</text>')
    return _track("axis", 14, joined(text.format(x=percent(tick), label=f"{100 * tick:.0f}") for tick in TICKS))


def bar(parts: Sequence[tuple[str, float]], *, mark: float | None = None) -> Markup:
    """A stacked bar: (series class, share of the full width) from the left; `mark` draws a reference line."""
    drawn, start = [], 0.0
    rect = Markup('<rect class="fill-{series}" x="{x}" y="4" width="{width}" height="12" rx="1"/>')
    for series, share in parts:
        if share > 0:
            drawn.append(rect.format(series=series, x=percent(start), width=percent(share)))
        start += share
    if mark is not None:
        drawn.append(Markup('<line class="mark" x1="{x}" x2="{x}" y1="0" y2="20"/>').format(x=percent(mark)))
    base = Markup('<rect class="rail" x="0" y="4" width="100%" height="12" rx="1"/>')
    return _track("bar", 20, base + joined(drawn))


def intervals(marks: Sequence[Mark]) -> Markup:
    """Points with their intervals, one lane a series, on the scale of `axis`; a line joins first and last."""
    height = LANE * len(marks) + 6
    parts = [_grid(height)]
    shown = [(mark, 3 + LANE // 2 + LANE * lane) for lane, mark in enumerate(marks) if mark.share == mark.share]
    if len(shown) > 1:
        (first, top), (last, bottom) = shown[0], shown[-1]
        join = Markup('<line class="join" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
        parts.append(join.format(x1=percent(first.share), y1=top, x2=percent(last.share), y2=bottom))
    parts += [_mark(mark, middle) for mark, middle in shown]
    return _track("intervals", height, joined(parts))


def _mark(mark: Mark, y: int) -> Markup:
    line = Markup('<line class="whisker line-{s}" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>')
    dot = Markup('<circle class="dot fill-{s}" cx="{x}" cy="{y}" r="4.5"/>')
    if mark.series == "final":  # another shape, so that the series differ without colour
        dot = Markup(
            '<svg x="{x}" y="{y}" overflow="visible"><path class="dot fill-{s}" d="M0-5.5 5.5 0 0 5.5-5.5 0z"/></svg>'
        )
    drawn = line.format(s=mark.series, low=percent(mark.low), high=percent(mark.high), y=y)
    return drawn + dot.format(s=mark.series, x=percent(mark.share), y=y)


def swatch(series: str, kind: str = "point") -> Markup:
    """The legend's sign of a series: as `intervals` draws it, or the square of a bar."""
    shape = Markup('<circle class="fill-{}" cx="6" cy="6" r="4.5"/>')
    if kind == "bar":
        shape = Markup('<rect class="fill-{}" x="1" y="1" width="10" height="10" rx="1"/>')
    elif series == "final":
        shape = Markup('<path class="fill-{}" d="M6 .5 11.5 6 6 11.5.5 6z"/>')
    return Markup('<svg class="swatch" width="12" height="12" aria-hidden="true" focusable="false">{}</svg>').format(
        shape.format(series)
    )


def bins(counts: Sequence[int]) -> list[Bin]:
    """Equal bins over 0..1."""
    width = 1 / len(counts)
    return [Bin(place * width, (place + 1) * width, count) for place, count in enumerate(counts)]


def histogram(found: Sequence[Bin], *, series: str, name: str, title: str, threshold: float | None = None) -> Markup:
    """Bars over 0..1 with their counts above, and the threshold as a line. `name` must be unique in the page."""
    height, ground, top = 190, 160, 22
    most = max((each.rows for each in found), default=0) or 1
    parts = [Markup('<line class="ground" x1="0" x2="100%" y1="{y}" y2="{y}"/>').format(y=ground)]
    rect = Markup('<rect class="fill-{s}" x="{x}" y="{y:.1f}" width="{w}" height="{h:.1f}" rx="1"/>')
    label = Markup('<text class="value" x="{x}" y="{y:.1f}" text-anchor="middle">{n}</text>')
    for each in found:
        if each.rows:
            tall = max(1.5, (ground - top) * each.rows / most)
            gap = (each.high - each.low) * 0.08
            place = {"x": percent(each.low + gap), "w": percent(each.high - each.low - 2 * gap)}
            parts.append(rect.format(s=series, y=ground - tall, h=tall, **place))
            middle = percent((each.low + each.high) / 2)
            parts.append(label.format(x=middle, y=ground - tall - 5, n=short(each.rows)))
    if threshold is not None:
        parts.append(_threshold(threshold, ground))
    tick = Markup('<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}">{label}</text>')
    for at in TICKS:
        anchor = {0.0: "start", 1.0: "end"}.get(at, "middle")
        parts.append(tick.format(x=percent(at), y=ground + 16, anchor=anchor, label=f"{at:g}"))
    total = sum(each.rows for each in found)
    return _titled("histogram", height, name, title, f"{total:,} rows in {len(found)} bins of equal width.", parts)


def _threshold(at: float, ground: int) -> Markup:
    anchor = "start" if at < 0.6 else "end"
    return Markup(
        '<line class="threshold" x1="{x}" x2="{x}" y1="6" y2="{y}"/>'
        '<text class="note" x="{x}" y="15" dx="{dx}" text-anchor="{anchor}">threshold {at}</text>'
    ).format(x=percent(at), y=ground, dx=6 if anchor == "start" else -6, anchor=anchor, at=f"{at:g}")


def _titled(kind: str, height: int, name: str, title: str, words: str, parts: Iterable[Markup]) -> Markup:
    access = Markup('role="img" aria-labelledby="{0}-title {0}-desc"').format(name)
    head = Markup('<title id="{0}-title">{1}</title><desc id="{0}-desc">{2}</desc>').format(name, title, words)
    return SVG.format(kind=kind, height=height, access=access, body=head + joined(parts))


def short(count: int) -> str:
    """1234 -> '1.2k': a figure that fits above a bar."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= 0.9995 * size:  # from here three digits round up to it
            return f"{count / size:.3g}{unit}"
    return str(count)


class Spoke(NamedTuple):
    """One axis of a radar: its name, and the share of each series (None: this series has none)."""

    name: str
    shares: Sequence[float | None]


def radar(spokes: Sequence[Spoke], *, series: Sequence[str], name: str, title: str) -> Markup:
    """Shares 0 to 1 on spokes from the middle, a closed line a series. `name` must be unique in the page.

    Spokes carry their number; the names stand in a list or table beside it. Drawn in a square of 400 units: unlike the
    other charts it keeps its shape, so it scales as a whole.
    """
    middle, radius = 200.0, 160.0
    count = max(1, len(spokes))

    def at(place: int, share: float) -> tuple[float, float]:
        angle = 2 * math.pi * place / count - math.pi / 2
        return middle + radius * share * math.cos(angle), middle + radius * share * math.sin(angle)

    parts = []
    for ring in TICKS[1:]:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(place, ring) for place in range(count)))
        parts.append(Markup('<polygon class="ring" points="{}"/>').format(points))
    for place in range(count):
        (x, y), (tx, ty) = at(place, 1.0), at(place, 1.12)
        parts.append(Markup('<line class="grid" x1="200" y1="200" x2="{:.1f}" y2="{:.1f}"/>').format(x, y))
        text = Markup('<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="middle" dy="0.35em">{}</text>')
        parts.append(text.format(tx, ty, place + 1))
    for index, each in enumerate(series):
        parts.append(_outline(each, [at(p, s) for p, k in enumerate(spokes) if (s := k.shares[index]) is not None]))
    words = f"{len(spokes)} groups, {len(series)} series; the outer ring is 100 %. The figures stand in the table."
    access = Markup('role="img" aria-labelledby="{0}-title {0}-desc"').format(name)
    head = Markup('<title id="{0}-title">{1}</title><desc id="{0}-desc">{2}</desc>').format(name, title, words)
    return Markup('<svg class="chart radar" viewBox="0 0 400 400" {}>{}</svg>').format(access, head + joined(parts))


def _outline(series: str, points: Sequence[tuple[float, float]]) -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    shape = Markup('<polygon class="area area-{s}" points="{path}"/>').format(s=series, path=path)
    dot = Markup('<circle class="dot fill-{s}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return shape + joined(dot.format(s=series, x=x, y=y) for x, y in points)
