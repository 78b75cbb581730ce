"""Benchmarks by name: a source, and a scorer. Adding one is a file here, one under `engine/sources`, and two lines."""

from __future__ import annotations

import difflib
from importlib import import_module

from engine.errors import UsageError
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
    """The benchmark of that name, or of `module:factory` anywhere on the path; UsageError for an unknown one."""
    target = BENCHMARKS.get(name, name)
    module, colon, factory = target.partition(":")
    if not colon:
        close = difflib.get_close_matches(name, BENCHMARKS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"--benchmark: found {name!r}, expected one of {', '.join(sorted(BENCHMARKS))}{hint}")
    try:
        found: Benchmark = getattr(import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--benchmark {name}: {error}; expected module:factory, importable from here") from error
    return found
