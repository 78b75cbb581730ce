"""Where rows went: blocks on the left, blocks on the right, ribbons between (an alluvial diagram).

The ribbons are one drawing that is stretched to its place and holds no text; the labelled blocks stand in drawings of
their own at its sides, so that text keeps its size. The figures stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from engine.report.charts import HIDDEN, SVG, joined

HEIGHT, GAP = 200, 10
"""Pixels of the drawing, and between its blocks."""
LABEL = 34
"""Pixels of a label and its figure."""


class Block(NamedTuple):
    """One label of a side: its top and height in pixels, and its rows."""

    label: str
    top: float
    height: float
    rows: int


class Ribbon(NamedTuple):
    """So many rows went from one label on the left to one on the right."""

    left: str
    right: str
    rows: int


def ribbons(found: Sequence[Ribbon], order: Sequence[str], *, name: str, title: str) -> Markup:
    """The ribbons; labels stand in `order` from the top, as tall as their rows. `name` must be unique in the page.

    Drawn in a 1000-wide box that is stretched to its place.
    """
    left = {block.label: block.top for block in blocks(found, order, 0)}
    right = {block.label: block.top for block in blocks(found, order, 1)}
    path = Markup(
        '<path class="ribbon band-{s}" d="M0 {a:.1f}C500 {a:.1f} 500 {b:.1f} 1000 {b:.1f}'
        'V{d:.1f}C500 {d:.1f} 500 {c:.1f} 0 {c:.1f}Z"/>'
    )
    parts = []
    for each in sorted(found, key=lambda each: (order.index(each.left), order.index(each.right))):
        tall, a, b = each.rows * _scale(found), left[each.left], right[each.right]
        left[each.left], right[each.right] = a + tall, b + tall
        parts.append(path.format(s=each.left, a=a, b=b, c=a + tall, d=b + tall))
    words = "; ".join(f"{each.rows:,} {each.left} to {each.right}" for each in found)
    head = Markup('<title id="{0}-title">{1}</title><desc id="{0}-desc">{2}</desc>').format(name, title, words)
    return Markup(
        '<svg class="chart flow" viewBox="0 0 1000 {h}" preserveAspectRatio="none" width="100%" height="{h}" '
        'role="img" aria-labelledby="{n}-title {n}-desc">{body}</svg>'
    ).format(h=HEIGHT, n=name, body=head + joined(parts))


def ends(found: Sequence[Ribbon], order: Sequence[str], *, side: str) -> Markup:
    """The labelled blocks of one side (left or right) of `ribbons`."""
    at, anchor, block, away = ("100%", "end", -6, -13) if side == "left" else ("0", "start", 0, 13)
    place = {"x": at, "anchor": anchor, "block": block, "away": away}
    text = Markup(
        '<svg x="{x}" overflow="visible"><rect class="fill-{s}" x="{block}" y="{y:.1f}" width="6" height="{h:.1f}"/>'
        '<text class="flow-label" x="{away}" y="{middle:.1f}" text-anchor="{anchor}">{s}</text>'
        '<text class="flow-count" x="{away}" y="{below:.1f}" text-anchor="{anchor}">{n}</text></svg>'
    )
    made = blocks(found, order, side == "right")
    parts = [
        text.format(s=label, n=f"{rows:,}", y=top, h=tall, middle=middle, below=middle + 15, **place)
        for (label, top, tall, rows), middle in zip(made, label_heights(made), strict=True)
    ]
    return SVG.format(kind="flow-ends", height=HEIGHT, access=HIDDEN, body=joined(parts))


def blocks(found: Sequence[Ribbon], order: Sequence[str], side: int) -> list[Block]:
    """The blocks of side 0 (left) or 1 (right), from the top; labels without rows are left out."""
    made, top = [], 0.0
    for label in order:
        rows = sum(each.rows for each in found if each[side] == label)
        if rows:
            made.append(Block(label, top, rows * _scale(found), rows))
            top += made[-1].height + GAP
    return made


def label_heights(made: Sequence[Block]) -> list[float]:
    """Where each block's two lines of text stand: at its middle, moved apart where blocks are thin."""
    heights: list[float] = []
    for block in made:
        lowest = heights[-1] + LABEL if heights else 12.0
        heights.append(max(lowest, block.top + block.height / 2))
    limit = HEIGHT - 16.0
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], limit)
        limit = heights[place] - LABEL
    return heights


def _scale(found: Sequence[Ribbon]) -> float:
    """Pixels a row: the same on both sides, with room for the gaps of the side that has more blocks."""
    total = sum(each.rows for each in found) or 1
    most = max(len({each.left for each in found}), len({each.right for each in found}), 1)
    return (HEIGHT - GAP * (most - 1)) / total
