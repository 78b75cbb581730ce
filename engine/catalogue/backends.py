"""Cards of the backends (`engine.backends.BACKENDS`); `auto` takes vllm where it can run, else transformers."""

from __future__ import annotations

from engine.catalogue.cards import Card

CARDS: dict[str, Card] = {
    "vllm": Card(
        "vLLM's engine in the worker, prefix cache on",
        "vLLM, arXiv 2309.06180",
        "Apache-2.0",
        needs="pip install 'ecso-engine[vllm]'",
    ),
    "transformers": Card(
        "batches on transformers, CPU or GPU",
        "Hugging Face Transformers",
        "Apache-2.0",
        needs="pip install 'ecso-engine[local]'",
    ),
    "openai": Card(
        "any OpenAI-compatible server",
        "the chat completions interface",
        "the server's",
        needs="--base-url, --model as the server calls it; --api-key-env where it asks for a key",
    ),
    "scripted": Card("no model: a deterministic script, for dry runs and tests", "this project"),
}
