"""`--backend benchmarks.warmed:Warmed`: vLLM as the engine runs it, warmed up before it says that it is ready.

The benchmark's other contestants are warmed up before their clock starts; this engine's clock starts when its worker is
ready, so the same rows are asked there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from benchmarks import chain
from benchmarks.contestants import warm_rows
from engine.backends.vllm import VllmBackend
from engine.backends.vllm_args import RowNeed
from engine.strategies.base import StrategyOptions
from engine.types import Completion, Message, Sampling


class Warmed(VllmBackend):
    """Counters, prefix cache and what was learned of the rows' lengths are as new after the warm-up."""

    async def start(self) -> None:
        await super().start()
        run = chain.fixed(StrategyOptions())
        await asyncio.gather(*(run(query, self._ask_warm) for query in warm_rows()))
        await self.refresh()
        await self._engine.reset_prefix_cache()
        self._need = RowNeed(self._config.longest_answer, self._need.block)
        self._requests = self._prompt_tokens = self._cached_tokens = self._completion_tokens = 0
        self._encodes = 0
        self._decoded.clear()

    async def _ask_warm(self, step: str, messages: Sequence[Message], sampling: Sampling, **_: Any) -> Completion:  # noqa: ARG002
        return await self.generate(messages, sampling)
