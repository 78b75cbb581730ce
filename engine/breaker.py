"""The error-rate breaker: stop a run whose rows fail, and say why.

Window: the last 200 finished rows, once at least 20 were seen; it trips when the share of errors among them is over
`max_error_rate`. At the end of a run with fewer rows the same share is asked of all of them.
"""

from __future__ import annotations

from collections import Counter, deque

WINDOW = 200
AT_LEAST = 20


class Breaker:
    """Counts outcomes in the order they finish. Duplicates and skipped rows are no outcomes."""

    def __init__(self, max_error_rate: float, window: int = WINDOW, at_least: int = AT_LEAST) -> None:
        self.max_error_rate = max_error_rate
        self.at_least = at_least
        self.by_type: Counter[str] = Counter()
        self.first: str | None = None
        self._last: deque[bool] = deque(maxlen=window)
        self._bad = 0

    def add(self, error_type: str | None, message: str | None = None) -> bool:
        """One finished row; True when the breaker trips."""
        if len(self._last) == self._last.maxlen:
            self._bad -= self._last[0]
        self._last.append(error_type is not None)
        if error_type is not None:
            self._bad += 1
            self.by_type[error_type] += 1
            self.first = self.first or f"{error_type}: {message}"
        return len(self._last) >= self.at_least and self._over()

    def at_end(self) -> bool:
        """True when a run too short for the window failed by the same share."""
        return 0 < len(self._last) < self.at_least and self._over()

    def _over(self) -> bool:
        return self._bad > self.max_error_rate * len(self._last)

    def report(self) -> str:
        """The first real cause and the counts by type, for the terminal."""
        counts = ", ".join(f"{name} × {count}" for name, count in self.by_type.most_common())
        share = self._bad / max(1, len(self._last))
        return (
            f"{share:.0%} of the last {len(self._last)} rows failed (limit {self.max_error_rate:.0%}).\n"
            f"  first cause: {self.first}\n  by type: {counts}"
        )
