"""What a person sees while a run goes on: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_EVERY_S = 10.0


class Tally:
    """Counts of one run, and the rates made from them."""

    def __init__(self, total: int | None, before: int = 0, accepted: int = 0) -> None:
        """`before`, `accepted`: rows that an earlier part of the run finished, and accepted."""
        self.total = total
        self.before = before
        self.states: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.calls = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self.accepted = accepted
        self.started = time.monotonic()
        self.ready: float | None = None
        self.last: float | None = None

    def add(self, ack: Any) -> None:
        """One acknowledgement."""
        self.start_clock()
        self.last = time.monotonic()
        self.states[ack.state] += 1
        self.verdicts[ack.direct_verdict or "unchecked"] += ack.state in ("ok", "unresolved")
        self.calls += ack.calls
        self.prompt_tokens += ack.prompt_tokens
        self.cached_tokens += ack.cached_tokens
        self.completion_tokens += ack.completion_tokens
        self.accepted += ack.accepted

    def start_clock(self) -> None:
        """The first engine is ready: rates count from here, not from its start."""
        self.ready = self.ready or time.monotonic()

    @property
    def rows(self) -> int:
        """Rows finished here: not those a drain skipped, nor those a restarted worker found in the journal."""
        return sum(count for state, count in self.states.items() if state not in ("skipped", "again"))

    @property
    def answering_s(self) -> float | None:
        """Seconds from the first engine's start to the last row; None where nothing was answered."""
        return None if self.ready is None or self.last is None else round(self.last - self.ready, 3)

    def line(self) -> str:
        """One line: rows, rows/s, ETA, verdicts, tokens/s, prefix hits, errors."""
        seconds = max(1e-3, time.monotonic() - (self.ready or time.monotonic()))
        rate = self.rows / seconds if self.ready else 0.0
        done = self.before + self.rows
        parts = [f"{done:,}" + (f"/{self.total:,} rows" if self.total is not None else " rows")]
        if self.ready is None:
            return f"{parts[0]} · starting the engine ({time.monotonic() - self.started:.0f} s)"
        parts.append(f"{rate:,.1f} rows/s")
        if self.total is not None and rate:
            parts.append(f"ETA {_clock(max(0, self.total - done) / rate)}")
        verdicts = [f"{self.verdicts[name]:,} {name}" for name in ("harmless", "harmful", "unknown")]
        parts.append("first answers: " + ", ".join(verdicts))
        parts.append(f"{(self.prompt_tokens + self.completion_tokens) / seconds:,.0f} tokens/s")
        if self.cached_tokens:
            parts.append(f"prefix hits {self.cached_tokens / max(1, self.prompt_tokens):.0%}")
        parts.append(f"{self.states['error']:,} errors")
        if self.states["unresolved"]:
            parts.append(f"{self.states['unresolved']:,} unresolved")
        return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display:
    """Shows a Tally on stderr: live with a terminal, a plain line every ten seconds without one."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._live: Live | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Display:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, get_renderable=self._panel)
            self._live.start()
        return self

    def _panel(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        total = self._tally.total or 0
        bar = ProgressBar(total=max(1, total), completed=self._tally.before + self._tally.rows)
        return Group(Text(self._tally.line()), bar)  # a bar ends no line: after it the text would be cut off

    def tick(self) -> None:
        """Call often; prints a plain line when it is time."""
        if self._live is None and time.monotonic() - self._last >= PLAIN_EVERY_S:
            self._last = time.monotonic()
            print(self._tally.line(), file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            print(self._tally.line(), file=sys.stderr, flush=True)
