"""The drawing kit: what is drawn is what was counted, and texts stay texts."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.report import charts, flow
from engine.report.collect import BINS, bin_of

SHARE = st.floats(0, 1)
LABELS = ["harmful", "unknown", "unchecked", "harmless"]


def parsed(markup: str) -> ElementTree.Element:
    """The drawing as XML: it must be well formed whatever text is in it."""
    return ElementTree.fromstring(str(markup))


def shares(root: ElementTree.Element, tag: str, name: str, attribute: str) -> list[float]:
    found = [each for each in root.iter(tag) if name in each.get("class", "").split()]
    return [float(each.get(attribute, "").rstrip("%")) for each in found]


@given(st.lists(SHARE, min_size=1, max_size=200))
def test_every_probability_is_in_one_bin(values: list[float]) -> None:
    counts = [0] * BINS
    for value in values:
        counts[bin_of(value)] += 1
    found = charts.bins(counts)
    assert sum(each.rows for each in found) == len(values)
    for value in values:
        low, high, _ = found[bin_of(value)]
        assert low - 1e-9 <= value <= high + 1e-9


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40), st.text(max_size=20).filter(str.isprintable))
def test_histogram_draws_each_bin_as_tall_as_its_rows(counts: list[int], title: str) -> None:
    root = parsed(charts.histogram(charts.bins(counts), series="direct", name="h", title=title, threshold=0.5))
    bars = [float(each.get("height", "0")) for each in root.iter("rect")]
    drawn = [count for count in counts if count]
    assert len(bars) == len(drawn)
    pairs = list(zip(bars, drawn, strict=True))
    for (tall, rows), (other, fewer) in pairwise(pairs):
        assert (tall >= other) == (rows >= fewer) or abs(tall - other) < 0.11
    assert f"{sum(counts):,} rows" in "".join(root.itertext())
    assert root.find("title") is not None
    assert root.find("title").text == (title or None)  # type: ignore[union-attr]


@given(st.lists(SHARE, max_size=5))
def test_a_bar_never_leaves_its_rail(parts: list[float]) -> None:
    total = sum(parts) or 1
    root = parsed(charts.bar([("final", part / max(1, total)) for part in parts]))
    starts, widths = shares(root, "rect", "fill-final", "x"), shares(root, "rect", "fill-final", "width")
    assert all(start + width <= 100.02 for start, width in zip(starts, widths, strict=True))


def test_intervals_stand_at_their_shares() -> None:
    marks = [charts.Mark("direct", 0.25, 0.2, 0.3), charts.Mark("final", 0.9, 0.8, 0.95)]
    root = parsed(charts.intervals(marks))
    assert shares(root, "circle", "fill-direct", "cx") == [25.0]
    assert shares(root, "line", "line-final", "x1") == [80.0]
    assert shares(root, "line", "line-final", "x2") == [95.0]


def test_a_rate_of_nothing_draws_no_point() -> None:
    nan = float("nan")
    root = parsed(charts.intervals([charts.Mark("direct", nan, nan, nan)]))
    assert not list(root.iter("circle"))
    assert "nan" not in ElementTree.tostring(root, "unicode")


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS), st.integers(1, 10**6)), max_size=16))
def test_flow_keeps_its_rows_on_both_sides(found: list[tuple[str, str, int]]) -> None:
    ribbons = [flow.Ribbon(*each) for each in found]
    for side in (0, 1):
        blocks = flow.blocks(ribbons, LABELS, side)
        assert sum(block.rows for block in blocks) == sum(each.rows for each in ribbons)
        assert all(block.top + block.height <= flow.HEIGHT + 1e-6 for block in blocks)
        heights = flow.label_heights(blocks)
        assert all(lower - upper >= flow.LABEL - 1e-6 for upper, lower in pairwise(heights))
        assert all(12 <= height <= flow.HEIGHT - 16 for height in heights)
    root = parsed(flow.ribbons(ribbons, LABELS, name="f", title="t"))
    assert len(list(root.iter("path"))) == len(ribbons)


@pytest.mark.parametrize("text", ["<script>x</script>", '" onload="x', "</svg><script>"])
def test_text_is_escaped(text: str) -> None:
    root = parsed(charts.histogram(charts.bins([1]), series=text, name="h", title=text))
    assert {each.tag for each in root.iter()} <= {"svg", "title", "desc", "rect", "line", "text"}
    assert not [key for each in root.iter() for key in each.attrib if key.startswith("on")]


def test_the_largest_counts_are_short() -> None:
    assert [charts.short(n) for n in (7, 999, 1234, 20_000, 1_500_000)] == ["7", "999", "1.23k", "20k", "1.5M"]
    assert not re.search(r"e\+", charts.short(999_999))
