"""What every filter is made of: a row in, a drop or nothing out.

Filters read a transcript (schemas/transcript.json) and keep nothing between rows, so their order decides only which
reason is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.errors import UsageError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a row is left out: `reason` is counted, `evidence` is shown."""

    reason: str
    evidence: str


Filter = Callable[[Row], Drop | None]


def query(row: Row) -> str:
    return row.get("query") or ""


def response(row: Row) -> str:
    return row.get("final_response") or ""


def require(name: str, good: bool, expected: str) -> None:
    """UsageError for an option whose value makes no sense."""
    if not good:
        raise UsageError(f"filter option {name}: expected {expected}")
