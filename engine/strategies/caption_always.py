"""`caption_always`: ECSO's last two steps for every query, without asking whether the direct answer was harmful.

The upper bound of what closing the eyes can bring in safety, and of what it costs in utility: no answer sees a picture.
"""

from __future__ import annotations

from engine.strategies.base import StrategyOptions, greedy
from engine.strategies.ecso import close_eyes, read_out
from engine.types import Ask, Outcome, Query, Strategy


def caption_always(options: StrategyOptions) -> Strategy:
    """A strategy that asks twice: a caption, and an answer from the words; `unchecked`."""

    async def run(query: Query, ask: Ask) -> Outcome:
        seen = await read_out(query, ask, options)
        caption, safe = await close_eyes(query, ask, greedy(options), options, seen=seen)
        return Outcome(final_response=safe, final_verdict="unchecked", caption=caption, eyes_closed=True, attempts=1)

    return run
