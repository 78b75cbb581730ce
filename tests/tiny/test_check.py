"""The check cannot pass by accident: what it accepts, figure by figure."""

from __future__ import annotations

import pytest

from engine.tiny.check import Figure, accepted


@pytest.mark.parametrize(
    ("value", "known", "require", "expected"),
    [
        (0.95, {}, True, True),
        (0.89, {}, True, False),
        (0.60, {"figure": 0.62}, True, True),  # noted, and no worse
        (0.50, {"figure": 0.62}, True, False),  # noted, and worse
        (0.60, {"another": 0.62}, True, False),
        (None, {}, True, False),
        (None, {}, False, True),
    ],
)
def test_accepted(value: float | None, known: dict[str, float], require: bool, expected: bool) -> None:
    assert accepted(Figure("figure", value, 0.9, 60), known, require_all=require) == expected
