"""Figures in words, the same everywhere on a page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from engine.evaluation.rates import Rate

NOTHING = "–"
NAME = 90
"""Characters of a name in a table."""


def count(value: float | None) -> str:
    """12345 -> '12,345'."""
    return NOTHING if value is None else f"{value:,.0f}"


def share(value: float | None, digits: int = 1) -> str:
    """0.315 -> '31.5 %' (with a narrow no-break space)."""
    return NOTHING if value is None or math.isnan(value) else f"{100 * value:.{digits}f}\u202f%"


def part(value: float, whole: float) -> float:
    """value / whole, 0 where there is nothing."""
    return value / whole if whole else 0.0


def interval(rate: Rate) -> str:
    """'28.1 to 35.2 %'."""
    return NOTHING if not rate.n else f"{100 * rate.low:.1f} to {100 * rate.high:.1f}\u202f%"


def p(value: float | None) -> str:
    """A probability: three digits, and never 1.000 or 0.000 for what is neither."""
    if value is None:
        return NOTHING
    text = f"{value:.3f}"
    if text == "1.000" and value < 1:
        return "> 0.999"
    return "< 0.001" if text == "0.000" and value > 0 else text


def number(value: float | None, digits: int = 3) -> str:
    """A figure between 0 and 1, or none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def brief(identity: str) -> str:
    """The first digits of an id."""
    return identity[:12]


def name(value: object) -> str:
    """`too_short` -> 'too short'."""
    return str(value).replace("_", " ")


def short(text: str) -> str:
    """A name that fits a table, with … where it was cut."""
    return text if len(text) <= NAME else text[: NAME - 1] + "…"


def plural(value: int, word: str) -> str:
    """1 row, 2 rows."""
    return f"{value:,} {word}{'' if value == 1 else 's'}"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "count": count,
    "share": share,
    "part": part,
    "interval": interval,
    "p": p,
    "number": number,
    "brief": brief,
    "named": name,
    "short": short,
    "plural": plural,
}
