"""The check cannot pass by accident: what it accepts, figure by figure."""

from __future__ import annotations

import pytest

from engine.tiny.check import Figure, accepted


@pytest.mark.parametrize(
    ("value", "require", "expected"),
    [(0.95, True, True), (0.90, True, True), (0.89, True, False), (None, True, False), (None, False, True)],
)
def test_accepted(value: float | None, require: bool, expected: bool) -> None:
    assert accepted(Figure("figure", value, 0.9, 60), require_all=require) == expected


def test_accepted_at_most() -> None:
    assert accepted(Figure("bytes", 9.0, 10.0, 1, most=True), require_all=True)
    assert not accepted(Figure("bytes", 11.0, 10.0, 1, most=True), require_all=True)
