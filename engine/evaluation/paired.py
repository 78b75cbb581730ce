"""Paired tests: is a difference between two sets of answers to the same questions more than noise?"""

from __future__ import annotations

import math

LEVEL = 0.05
"""Differences with a larger p are called noise."""


def mcnemar(fixed: int, broken: int) -> float:
    """McNemar's test, exact and two-sided: of the rows that changed, are as many better as worse?

    Under the null hypothesis each changed row is better or worse with probability 1/2, so the p-value is twice the
    binomial tail of the rarer kind, at most 1. No row changed: 1.
    """
    if fixed < 0 or broken < 0:
        raise ValueError(f"{fixed} fixed, {broken} broken")
    changed = fixed + broken
    if not changed:
        return 1.0
    ways = sum(math.comb(changed, k) for k in range(min(fixed, broken) + 1))
    total: int = 2**changed
    return min(1.0, 2 * ways / total)  # whole numbers: exact, also for thousands of rows
