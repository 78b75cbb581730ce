"""The fitted curve, as generate applies it: pure Python, picklable, monotone, without scikit-learn or NumPy."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logit is taken: a float's 1.0 has none."""
Method = Literal["platt", "isotonic"]


@dataclass(frozen=True, slots=True)
class Curve:
    """From the judge's p(harmful) to a calibrated one; never falling.

    platt (Platt 1999): 1 / (1 + exp(-(slope · logit(p) + intercept))). isotonic: straight lines between the points
    (`xs`, `ys`), level outside them.
    """

    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    xs: tuple[float, ...] = ()
    ys: tuple[float, ...] = ()

    def __call__(self, p: float) -> float:
        return self._sigmoid(p) if self.method == "platt" else self._steps(p)

    def _sigmoid(self, p: float) -> float:
        score = self.slope * logit(p) + self.intercept
        # The form that cannot overflow, on either side of zero.
        return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))

    def _steps(self, p: float) -> float:
        at = bisect_right(self.xs, p)
        if at == 0:
            return self.ys[0]
        if at == len(self.xs):
            return self.ys[-1]
        left, right = self.xs[at - 1], self.xs[at]
        low, high = self.ys[at - 1], self.ys[at]
        return min(high, low + (high - low) * (p - left) / (right - left))

    def as_dict(self) -> dict[str, Any]:
        """What cal.json and the fingerprint keep of it."""
        if self.method == "platt":
            return {"method": "platt", "slope": self.slope, "intercept": self.intercept}
        return {"method": "isotonic", "xs": list(self.xs), "ys": list(self.ys)}


def logit(p: float) -> float:
    """log(p / (1 - p)), with p kept inside (0, 1)."""
    inside = min(1 - EDGE, max(EDGE, p))
    return math.log(inside / (1 - inside))


def curve_of(found: Mapping[str, Any]) -> Curve:
    """The curve of a document. ValueError for one that falls somewhere, or whose points do not belong together."""
    if found["method"] == "platt":
        curve = Curve("platt", float(found["slope"]), float(found["intercept"]))
        if not (curve.slope >= 0 and math.isfinite(curve.slope) and math.isfinite(curve.intercept)):
            raise ValueError(f"slope {curve.slope} and intercept {curve.intercept}: a slope of at least 0 is expected")
        return curve
    xs, ys = tuple(map(float, found["xs"])), tuple(map(float, found["ys"]))
    if len(xs) != len(ys) or not xs:
        raise ValueError(f"{len(xs)} xs and {len(ys)} ys: as many of both are expected, and at least one")
    rising = all(a < b for a, b in pairwise(xs)) and all(a <= b for a, b in pairwise(ys))
    if not rising:
        raise ValueError("xs or ys fall: a calibration keeps the judge's order")
    return Curve("isotonic", xs=xs, ys=ys)
