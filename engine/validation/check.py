"""One line of the check-list."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.config import GenerateConfig, PublishConfig, ValidateConfig
from engine.errors import EcsoError
from engine.planning import Job
from engine.sources import Plan

State = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and how to mend it (empty where there is nothing to mend)."""

    name: str
    state: State
    found: str
    mend: str = ""


@dataclass(slots=True)
class Context:
    """What checks have to go by; filled as they go, so that a later one can use what an earlier one found."""

    generate: GenerateConfig
    validate: ValidateConfig
    publish: PublishConfig | None = None
    plan: Plan | None = None
    job: Job | None = None
    processor: Any = None
    picture_bytes: float = 0.0
    """Mean bytes of the pictures of a row, from the sample."""
    notes: dict[str, Any] = field(default_factory=dict)


Step = Callable[[Context], Iterable[Check]]


def passed(name: str, found: str) -> Check:
    return Check(name, "pass", found)


def failed(name: str, found: str, mend: str) -> Check:
    return Check(name, "fail", found, mend)


def warned(name: str, found: str, mend: str) -> Check:
    return Check(name, "warn", found, mend)


def skipped(name: str, why: str) -> Check:
    return Check(name, "skip", why)


def run_steps(context: Context, steps: Iterable[tuple[str, str, Step]]) -> list[Check]:
    """Every (name, mend, step) in order. What a step raises is its failure, with the step's own mend: one failed check
    never hides the next."""
    found: list[Check] = []
    for name, mend, step in steps:
        try:
            found += step(context)
        except EcsoError as error:
            found.append(failed(name, str(error), mend))
        except Exception as error:  # noqa: BLE001 (a check of strange data must not end the list)
            found.append(failed(name, f"{type(error).__name__}: {error}", mend))
    return found
