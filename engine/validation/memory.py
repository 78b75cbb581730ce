"""Whether a model fits a GPU: arithmetic only, so it is tested where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

GIB = 2**30
ACTIVATIONS = 2 * GIB
"""Set aside for activations, CUDA graphs and the picture encoder: an order of magnitude, not a measurement."""
HALF = 2
"""Bytes of a number in bfloat16, in which keys and values are kept."""


class Fit(NamedTuple):
    """What one GPU holds. `tokens`: keys and values that have room beside the weights."""

    fits: bool
    weights: float
    room: float
    tokens: int
    longest: int


def kv_bytes(config: Mapping[str, Any]) -> int:
    """Bytes of keys and values of one token, from a model's config.json; 0 where it does not say."""
    text = config.get("text_config") or config.get("llm_config") or config
    layers, heads, width = text.get("num_hidden_layers"), text.get("num_attention_heads"), text.get("hidden_size")
    if not layers or not heads or not width:
        return 0
    size = text.get("head_dim") or width // heads
    return int(2 * layers * (text.get("num_key_value_heads") or heads) * size * HALF)


def fit(weights: int, gpu: int, *, share: float, tensor_parallel: int, kv: int, longest: int) -> Fit:
    """Weights (bytes, all GPUs together) on one GPU of `gpu` bytes, of which the engine takes `share`.

    It fits where the longest row (tokens) has its keys and values in what is left.
    """
    part = weights / tensor_parallel
    left = gpu * share - part - ACTIVATIONS
    tokens = int(max(0.0, left) / (kv / tensor_parallel)) if kv else 0
    return Fit(left > 0 and (not kv or tokens >= longest), part, left, tokens, longest)


def short_of(asked: Mapping[str, float], there: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """resource -> (asked, there), of what is missing."""
    return {name: (want, there.get(name, 0.0)) for name, want in asked.items() if want > there.get(name, 0.0)}
