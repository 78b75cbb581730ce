"""Do vLLM and transformers write the same greedy text with a tuned model? Merged, and as a LoRA adapter.

    python -m benchmarks.tuned_outputs [--merged DIR] [--adapter DIR [--base tiny]] [--prompts 200]

The prompts are the first rows of the embedded sample's test split, pictures included. Exit 1 under 98 %.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from itertools import islice

from benchmarks.machine import header
from engine import fingerprint
from engine.backends import BackendConfig, create
from engine.config import GenerateConfig
from engine.planning import adapted
from engine.sources import SourceConfig, open_source
from engine.sources.base import load
from engine.types import Message, Query, Sampling

BAR = 0.98
TOKENS = 40


def queries(count: int) -> list[Query]:
    """The first rows of the sample's test split."""
    windows = open_source(SourceConfig(name="sample", split="test")).windows()
    rows = (row for window in windows for row in window.rows())
    return [load(row) for row in islice(rows, count)]


async def answers(config: BackendConfig, asked: Sequence[Query]) -> list[str]:
    """Greedy answers through the engine's own backend."""
    backend = create(config)
    await backend.start()
    try:
        calls = (backend.generate([Message("user", q.text, q.pictures)], Sampling(TOKENS)) for q in asked)
        return [completion.text for completion in await asyncio.gather(*calls)]
    finally:
        await backend.close()


def compare(model: str, adapter: str | None, asked: Sequence[Query]) -> int:
    """How many answers are the same in both backends."""
    config = GenerateConfig(model=model, adapter=adapter)
    folder_of_base, _, _ = fingerprint.resolve_model(config, "transformers")
    said = []
    for name in ("transformers", "vllm"):
        folder, kwargs = adapted(config, name)
        made = BackendConfig(name, folder_of_base, adapter=folder, chat_template_kwargs=kwargs, longest_answer=TOKENS)
        said.append(asyncio.run(answers(made, asked)))
    return sum(a == b for a, b in zip(*said, strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where a share is under the bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuned_outputs", description=__doc__)
    parser.add_argument("--merged", help="folder of a merged model")
    parser.add_argument("--adapter", help="folder of a LoRA adapter")
    parser.add_argument("--base", default="tiny", help="the adapter's base model")
    parser.add_argument("--prompts", type=int, default=200)
    given = parser.parse_args(argv)
    asked = queries(given.prompts)
    print(header(), flush=True)
    passed = True
    for name, model, adapter in (("merged", given.merged, None), ("adapter", given.base, given.adapter)):
        if (given.merged if name == "merged" else given.adapter) is None:
            continue
        same = compare(model, adapter, asked)
        print(f"{name}: {same} of {len(asked)} greedy answers are the same in transformers and vLLM", flush=True)
        passed = passed and same >= BAR * len(asked)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
