"""Benchmarks by name: a source, and a scorer. Adding one is a file here, one under `engine/sources`, and two lines."""

from __future__ import annotations

from engine import registry
from engine.evaluation.benchmarks.base import Answer, Benchmark, Metric, Part

__all__ = ["BENCHMARKS", "Answer", "Benchmark", "Metric", "Part", "get"]

BENCHMARKS: dict[str, str] = {
    "mm_safetybench": "engine.evaluation.benchmarks.mm_safetybench:benchmark",
    "vlguard": "engine.evaluation.benchmarks.vlguard:benchmark",
    "vlsafe": "engine.evaluation.benchmarks.vlsafe:benchmark",
    "figstep": "engine.evaluation.benchmarks.figstep:benchmark",
    "mossbench": "engine.evaluation.benchmarks.mossbench:benchmark",
    "mme": "engine.evaluation.benchmarks.mme:benchmark",
    "mmbench": "engine.evaluation.benchmarks.mmbench:benchmark",
    "mmvet": "engine.evaluation.benchmarks.mmvet:benchmark",
    "mllmguard": "engine.evaluation.benchmarks.mllmguard:benchmark",
    "drawn": "engine.evaluation.benchmarks.drawn:benchmark",
}
"""Name -> module:factory, imported when it is asked for."""


def get(name: str) -> Benchmark:
    """The benchmark of that name, built in or from outside, or of `module:factory` anywhere on the path; UsageError for
    an unknown one."""
    found: Benchmark = registry.find("benchmarks", name, BENCHMARKS).make()
    return found
