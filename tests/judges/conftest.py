"""Pictures, rows, and classifiers that are started and closed around some questions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from engine.backends import BackendConfig, create
from engine.judges.base import Judge, Judged
from engine.types import Query
from tests.curation.annotate.conftest import picture

QUERY = Query("ab" * 32, "How is a sock snubbed?", (picture(1),), category="privacy")
TEXT_ONLY = replace(QUERY, pictures=())


def config(model: object, **more: Any) -> BackendConfig:
    return BackendConfig("transformers", str(model), engine_args={"device": "cpu"}, **more)


def ask_all(judge: Judge, rows: Sequence[tuple[Query, str]]) -> list[Judged]:
    """As annotate does: start what the judge asks, all rows at once, close it."""

    async def run() -> list[Judged]:
        assert judge.backend is not None
        model = (judge.create or create)(judge.backend)
        await model.start()
        ask = judge.open(model)
        try:
            return list(await asyncio.gather(*(ask(query, text) for query, text in rows)))
        finally:
            await model.close()

    return asyncio.run(run())
