"""`reference`: the source's own answer, without a call: the arm tuned on human-checked answers."""

from __future__ import annotations

from engine.errors import SourceError
from engine.strategies.base import StrategyOptions
from engine.types import Ask, Outcome, Query, Strategy


def reference(options: StrategyOptions) -> Strategy:  # noqa: ARG001 (every strategy takes the options)
    """A strategy that emits `query.reference`, `unchecked`; SourceError where the source has none."""

    async def run(query: Query, ask: Ask) -> Outcome:  # noqa: ARG001 (asks nothing)
        if not query.reference:
            raise SourceError(f"{query.source_key}: the source gives no reference answer for --strategy reference")
        return Outcome(final_response=query.reference, final_verdict="unchecked")

    return run
