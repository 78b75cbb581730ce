"""What the tests' own distribution brings: one part of each kind. Copied out of here and found by its entry points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.backends.base import BackendConfig
from engine.backends.scripted import ScriptedBackend
from engine.curation.filters.base import Drop, Filter, Row
from engine.evaluation.benchmarks.base import Answer, Kind, Metric, Part
from engine.evaluation.benchmarks.scoring import ALL, unsafe_metrics
from engine.judges.base import Ask as AskJudge
from engine.judges.base import Judge, Judged, JudgeOptions, sha256
from engine.sources import SourceConfig, SourceRow, Window
from engine.strategies import StrategyOptions
from engine.types import Ask, Message, Outcome, Query, Sampling, Strategy

PROMPT = "LOUDLY: "


def loud(options: StrategyOptions) -> Strategy:
    """One answer, in capitals."""

    async def run(query: Query, ask: Ask) -> Outcome:
        asked = [Message("user", PROMPT + query.text, query.pictures)]
        completion = await ask("answer", asked, Sampling(options.max_tokens))
        return Outcome(completion.text.upper(), "unchecked")

    return run


def capitals(options: JudgeOptions) -> Judge:
    """`refused` where the text is in capitals."""

    def open_judge(backend: Any) -> AskJudge:
        async def ask(query: Query, text: str) -> Judged:
            return Judged("refused" if text.isupper() else "answered")

        return ask

    return Judge("capitals", "7", sha256(""), "final_response", open_judge, tells="refusals")


@dataclass(frozen=True)
class Numbers:
    """Three questions, in one window."""

    name: str = "numbers"

    def identity(self) -> dict[str, str | None]:
        return {"source": self.name, "path": None, "split": None}

    def windows(self) -> list[Window]:
        return [Some()]


@dataclass(frozen=True)
class Some:
    count: int | None = 3

    def rows(self) -> Iterator[SourceRow]:
        for number in range(3):
            yield SourceRow(
                number, f"numbers:{number}", f"Which number comes after {number}?", "numbers", label_safe=False
            )


def numbers(config: SourceConfig) -> Numbers:
    return Numbers()


def no_two(word: str = "2") -> Filter:
    """Drops queries that name a number."""

    def run(row: Row) -> Drop | None:
        return Drop("named", word) if word in row["query"] else None

    return run


@dataclass(frozen=True)
class Count:
    name: str = "counting"
    kind: Kind = "safety"
    source_note: str = "three numbers"
    judges: tuple[str, ...] = ("keywords",)

    def parts(self, path: str | None, options: Mapping[str, Any]) -> list[Part]:
        return [Part("all", SourceConfig("numbers"), 16)]

    def judge_for(self, answer_category: str | None) -> str | None:
        return None

    def score(self, answers: Sequence[Answer]) -> list[Metric]:
        return unsafe_metrics(ALL, "all", answers)


def counting() -> Count:
    return Count()


class Echo(ScriptedBackend):
    """Says what it was asked."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config, lambda messages, sampling: messages[-1].text)
