"""What every benchmark is: which rows to ask, and how the answers become metrics.

Scorers see answers and opinions, never a model, a picture or a file: they are plain functions, tested by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.evaluation.opinions import Opinion
from engine.sources import SourceConfig

Kind = Literal["safety", "over_refusal", "utility"]
Unit = Literal["share", "points"]


@dataclass(frozen=True, slots=True)
class Part:
    """One generate run of a benchmark: MM-SafetyBench × one mode, say."""

    name: str
    """`SD_TYPO`, `unsafes`, `all`; also part of the name of the run's folder."""
    source: SourceConfig
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered row, as the scorer sees it."""

    query_id: str
    part: str
    category: str | None
    subcategory: str | None
    label_safe: bool | None
    query: str
    response: str | None
    """None where the row errored."""
    status: str
    """The transcript's: ok, unresolved, error."""
    extra: Mapping[str, Any]
    """Parsed JSON of the source's further columns: ground truth, options, group …"""
    verdicts: Mapping[str, Opinion]
    """Judge name -> what it says of this answer."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure. A row that errored or could not be judged is in `n` and is no hit of a good rate."""

    name: str
    """`harmless_rate`, `asr`, `refusal_rate`, `accuracy`, `acc_plus`, `score` …"""
    group: str
    """`all`, `macro8`, a scenario, a category, `perception` …"""
    part: str
    """Name of the part, or `all`."""
    judge: str | None
    """None where code alone decides."""
    value: float
    """A share in 0..1, or points where `unit` says so; NaN where `n` is 0."""
    unit: Unit
    n: int
    hits: float | None
    low: float | None
    """95 % interval, in the unit of the value; None where none is defined."""
    high: float | None
    unparsed: int = 0
    errors: int = 0


class Benchmark(Protocol):
    """One benchmark."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def source_note(self) -> str:
        """Paper and licence, as the report prints them."""
        ...

    @property
    def judges(self) -> tuple[str, ...]:
        """Default judges of its metrics; () where code alone decides."""
        ...

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        """The runs to make. `path`: what stood behind `NAME=`. Raises UsageError for an unknown option."""
        ...

    def judge_for(self, answer_category: str | None) -> str | None:
        """Prompt family for answers of a category: general, political, legal, financial, health or government."""
        ...

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        """All metrics of these answers."""
        ...
