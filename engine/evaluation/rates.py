"""Shares with a 95 % interval."""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959963984540054


class Rate(NamedTuple):
    """`hits` of `n`, and the Wilson score interval of their share (each in 0..1)."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.hits / self.n if self.n else math.nan

    def __str__(self) -> str:
        if not self.n:
            return "–"
        return f"{100 * self.share:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def wilson(hits: int, n: int) -> Rate:
    """Wilson's score interval (1927): sensible near 0 and 1, where a safety rate lives.

    Raises ValueError for hits outside 0..n.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n}")
    if n == 0:
        return Rate(0, 0, math.nan, math.nan)
    share, square = hits / n, Z95 * Z95
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # Rounding may put an end on the wrong side of the share itself.
    low, high = min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    return Rate(hits, n, low, high)
