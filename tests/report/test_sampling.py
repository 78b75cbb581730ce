"""Few out of many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.report.sampling import Nearest, Reservoir


@given(st.lists(st.integers(), max_size=300), st.integers(1, 20))
def test_a_reservoir_holds_items_of_the_stream(items: list[int], size: int) -> None:
    found: list[Reservoir[int]] = []
    for _ in range(2):
        sample: Reservoir[int] = Reservoir(size, seed=3)
        for item in items:
            sample.add(item)
        found.append(sample)
    assert found[0].items == found[1].items
    assert len(found[0].items) == min(size, len(items))
    assert not set(found[0].items) - set(items)


def test_a_reservoir_is_uniform() -> None:
    """Each of 40 items is drawn about equally often: chi-square with 39 degrees of freedom under its 99.9 % point."""
    counts = [0] * 40
    for seed in range(2000):
        sample: Reservoir[int] = Reservoir(4, seed)
        for item in range(40):
            sample.add(item)
        for item in sample.items:
            counts[item] += 1
    assert sum((count - 200) ** 2 / 200 for count in counts) < 72.1


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 20))
def test_nearest_equals_sorting(distances: list[float], size: int) -> None:
    nearest: Nearest[int] = Nearest(size)
    for place, distance in enumerate(distances):
        nearest.add(distance, place)
    assert nearest.items == sorted(range(len(distances)), key=lambda place: (distances[place], place))[:size]
