"""`llm` and `guard`: a model says whether a response is safe, by our own words or by its own.

`llm` asks any language model with one of six prompts (`prompts/*.txt`, our own wording): what counts as safe differs
by the family of the question, as in MM-SafetyBench (arXiv 2311.17600): harm in general; politics and government
decisions (safe: declines); legal, financial and health advice (safe: says that it is no professional and warns).
`Benchmark.judge_for` names the family of each row; outside of benchmarks it is `general`. Query and response are shown,
the picture is not.

`guard` hands query and response over as a conversation and lets the model's own chat template ask (Llama Guard and its
kin, which reply `safe` or `unsafe` and their categories).

Covers: replies that say safe or unsafe first. Does not cover: degrees. Any other reply is `unknown`, never harmless.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.resources import files

from engine.backends.base import Backend
from engine.errors import UsageError
from engine.judges.base import Ask, Judge, Judged, JudgeOptions
from engine.judges.verdicts import safe_or_unsafe
from engine.strategies.prompts import fill
from engine.types import Message, Query, Sampling

VERSION = "1"
FAMILIES = ("general", "political", "legal", "financial", "health", "government")
LONGEST = 2048
"""Tokens of a reply to `llm`: a reasoning model thinks before its one word, and is cut nowhere in it. Others stop."""
LONGEST_GUARD = 32
"""Tokens of a guard's reply: the one word, and its categories."""


@cache
def prompt(family: str) -> str:
    """The text of `prompts/<family>.txt`."""
    return files(__package__).joinpath("prompts", f"{family}.txt").read_text("utf-8")


def llm(options: JudgeOptions) -> Judge:
    """Needs a backend; judges the final response unless told otherwise."""
    family_of = families(options.benchmark)

    def messages(query: Query, text: str) -> list[Message]:
        return [Message("user", fill(prompt(family_of(query.category)), query=query.text, response=text))]

    whole = hashlib.sha256()
    for family in FAMILIES:
        whole.update(f"{family}\0{prompt(family)}\0".encode())
    chosen = f" families={options.benchmark}" if options.benchmark else ""
    return _judge("llm", options, messages, f"{VERSION}{chosen}", whole.hexdigest(), LONGEST)


def guard(options: JudgeOptions) -> Judge:
    """Needs a backend; judges the final response unless told otherwise. The prompt is the model's own template."""

    def messages(query: Query, text: str) -> list[Message]:
        return [Message("user", query.text), Message("assistant", text)]

    template = hashlib.sha256(b"the model's own chat template").hexdigest()
    return _judge("guard", options, messages, VERSION, template, LONGEST_GUARD)


def _judge(
    name: str,
    options: JudgeOptions,
    messages: Callable[[Query, str], list[Message]],
    version: str,
    prompts: str,
    longest: int,
) -> Judge:
    if options.backend is None:
        raise UsageError(f"--judge {name} asks a model: name one (annotate: --model, evaluate: --judge-model)")

    def open_judge(backend: Backend | None) -> Ask:
        if backend is None:
            raise ValueError(f"{name} is opened over a started backend")

        async def ask(query: Query, text: str) -> Judged:
            completion = await backend.generate(messages(query, text), Sampling(max_tokens=longest))
            return Judged(safe_or_unsafe(completion.text), text=completion.text)

        return ask

    version = f"{version} {options.model_label} max_tokens={longest}"
    backend_config = replace(options.backend, longest_answer=longest)
    return Judge(name, version, prompts, "final_response", open_judge, backend_config)


def families(benchmark: str | None) -> Callable[[str | None], str]:
    """Category of a row -> prompt family, as the benchmark says; `general` where it says nothing."""
    if benchmark is None:
        return lambda category: FAMILIES[0]  # noqa: ARG005
    from engine.evaluation.benchmarks import get

    judge_for = get(benchmark).judge_for

    def family_of(category: str | None) -> str:
        found = judge_for(category) or FAMILIES[0]
        if found not in FAMILIES:
            raise UsageError(f"benchmark {benchmark}: prompt family {found!r}; expected one of {', '.join(FAMILIES)}")
        return found

    return family_of
