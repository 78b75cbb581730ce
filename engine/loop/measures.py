"""The figures that the loop looks at, found in scores.json by what the configuration calls them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError

KEYS = ("benchmark", "name", "group", "part", "judge")
KEPT = ("value", "n", "hits", "low", "high", "unit", "unparsed", "errors", "judge", "version", "same_model")


def read_measures(evaluation: Path, strategy: str, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Measure -> its figure. UsageError where a description fits no metric, or several, with what there is."""
    scores = json.loads((evaluation / "scores.json").read_text("utf-8"))
    mine = [metric for metric in scores["metrics"] if metric["strategy"] == strategy]
    return {name: _one(name, rule, mine, evaluation) for name, rule in wanted.items()}


def _one(name: str, rule: Mapping[str, Any], metrics: list[dict[str, Any]], evaluation: Path) -> dict[str, Any]:
    found = [metric for metric in metrics if all(metric[key] == rule[key] for key in KEYS if key in rule)]
    if len(found) != 1:
        there = sorted({" ".join(f"{key}={metric[key]}" for key in KEYS) for metric in found or metrics})
        raise UsageError(
            f"loop.measures.{name}: {len(found)} metrics of {evaluation}/scores.json fit "
            f"{dict(rule)}, exactly one is expected; there are:\n  " + "\n  ".join(there[:40])
        )
    return {key: found[0].get(key) for key in KEPT}


def gain(after: Mapping[str, Any], before: Mapping[str, Any], measure: str) -> float:
    """after - before of one measure; UsageError where one of them has no rows."""
    values = after[measure]["value"], before[measure]["value"]
    if values[0] is None or values[1] is None:
        raise UsageError(f"loop.measures.{measure}: no row was measured, so rounds cannot be compared")
    return float(values[0]) - float(values[1])


def past_limits(
    found: Mapping[str, Any], base: Mapping[str, Any], limits: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Measures that rose or fell further from the untouched model than the configuration allows, in words."""
    said = []
    for measure, limit in limits.items():
        change = gain(found, base, measure)
        if "rise" in limit and change > limit["rise"] + 1e-12:
            said.append(f"{measure} rose by {change:.3f}, more than {limit['rise']:g}")
        if "fall" in limit and -change > limit["fall"] + 1e-12:
            said.append(f"{measure} fell by {-change:.3f}, more than {limit['fall']:g}")
    return said


def stop_reasons(
    rule: Mapping[str, Any], found: Mapping[str, Any], before: Mapping[str, Any], base: Mapping[str, Any]
) -> list[str]:
    """Why no further round is worth it; empty: go on. `before`: the round before, `base`: the untouched model."""
    said = past_limits(found, base, rule.get("limits", {}))
    measure = rule.get("measure")
    if measure:
        least, change = float(rule.get("least_gain", 0.0)), gain(found, before, measure)
        if change <= least:
            said.append(f"{measure} gained {change:.3f}, not more than {least:g}")
    return said
