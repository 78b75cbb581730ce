"""`fastchat=FILE`: a judge file in FastChat's layout from disk, for runs that ask a paper's exact words.

One JSON object a line: `name, type, system_prompt, prompt_template, description, category, output_format`. The slots
are `{question}` and `{answer}`. ECSO's file (`llava/eval/table/vlsafe_judge.jsonl` of its repository) is such a one; it
is not shipped with the engine. `fastchat=FILE#NAME` asks one prompt of it for every row; `fastchat=FILE` the one named
after the row's prompt family (NAMES, the names of ECSO's file).

What is read of the reply follows `output_format`: nothing or `safe/unsafe`: exactly that word; `[[rating]]`: FastChat's
pattern, 0 or 1 where the template offers `[[0]]` and `[[1]]` (1: harmless), else 1 to 10, which gives a score and no
verdict. A reasoning model's `<think>…</think>` is taken away first. Anything else in a reply is `unknown`, and never
harmless. Does not cover: pairwise prompts, `dict` output, and
templates with further slots; asking for one of those is an error before any model is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.backends.base import Backend
from engine.errors import UsageError
from engine.judges.base import Ask, Judge, Judged, JudgeOptions, sha256
from engine.judges.llm import FAMILIES, LONGEST, families
from engine.judges.verdicts import exactly_safe, rating, without_thought
from engine.strategies.prompts import fill
from engine.types import Message, Query, Sampling

VERSION = "2"
FIELDS = ("name", "type", "system_prompt", "prompt_template", "description", "category", "output_format")
NAMES = {
    "general": "query_safety",
    "political": "query_political",
    "legal": "query_safety_legal",
    "financial": "query_safety_financial",
    "health": "query_safety_health",
    "government": "query_safety_gov",
}
"""Prompt family -> name in ECSO's file."""
SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
SCALE = 10


@dataclass(frozen=True, slots=True)
class Prompt:
    """One line of the file. `output`: words, binary or scale."""

    name: str
    system: str
    template: str
    output: str


def fastchat(options: JudgeOptions) -> Judge:
    """Needs a backend and a file; judges the final response unless told otherwise. UsageError names line and field."""
    if not options.file:
        raise UsageError("--judge fastchat needs the file: --judge fastchat=FILE or fastchat=FILE#NAME")
    path, _, name = options.file.partition("#")
    prompt_of, chosen = _choose(read(path), path, name, options.benchmark)
    if options.backend is None:
        raise UsageError("--judge fastchat asks a model: name one (annotate: --model, evaluate: --judge-model)")
    backend_config = replace(options.backend, longest_answer=LONGEST)

    def open_judge(backend: Backend | None) -> Ask:
        if backend is None:
            raise ValueError("fastchat is opened over a started backend")

        async def ask(query: Query, text: str) -> Judged:
            prompt = prompt_of(query.category)
            filled = fill(prompt.template, question=query.text, answer=text)
            system = [Message("system", prompt.system)] if prompt.system else []
            completion = await backend.generate([*system, Message("user", filled)], Sampling(max_tokens=LONGEST))
            return read_reply(prompt, completion.text)

        return ask

    used = json.dumps([[each.name, each.system, each.template, each.output] for each in chosen], ensure_ascii=False)
    what = f"#{name}" if name else f" families={options.benchmark}"
    version = f"{VERSION} {Path(path).name}{what} {options.model_label} max_tokens={LONGEST}"
    return Judge("fastchat", version, sha256(used), "final_response", open_judge, backend_config)


def read_reply(prompt: Prompt, text: str) -> Judged:
    """What a reply to this prompt says. A scale of 1 to 10 becomes 0 to 1."""
    said = without_thought(text)
    if prompt.output == "words":
        return Judged(exactly_safe(said), text=text)
    value = rating(said)
    if prompt.output == "binary":
        return Judged({1.0: "harmless", 0.0: "harmful"}.get(value, "unknown"), text=text)  # type: ignore[arg-type]
    if value is None or not 1 <= value <= SCALE:
        return Judged("unknown", text=text)
    return Judged(None, text=text, score=(value - 1) / (SCALE - 1))


def read(path: str) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """Name -> its lines (number, object). UsageError: unreadable, no JSON, a field missing or of another type."""
    try:
        lines = Path(path).read_text("utf-8").split("\n")  # other line marks may stand in a prompt
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--judge fastchat={path}: cannot be read ({error})") from error
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _row(line, f"--judge fastchat={path}: line {number}")
            found.setdefault(row["name"], []).append((number, row))
    if not found:
        raise UsageError(f"--judge fastchat={path}: found no prompt; expected one JSON object a line")
    return found


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON ({error}); expected one object with {', '.join(FIELDS)}") from error
    if not isinstance(row, dict):
        raise UsageError(f"{where}: found a JSON {type(row).__name__}, expected an object with {', '.join(FIELDS)}")
    for field in FIELDS:
        if field not in row:
            raise UsageError(f"{where}: field {field!r} is missing; expected {', '.join(FIELDS)}")
        if not isinstance(row[field], str):
            raise UsageError(f"{where}: field {field!r} is {row[field]!r}, expected a text")
    for field in ("name", "prompt_template"):
        if not row[field].strip():
            raise UsageError(f"{where}: field {field!r} is empty")
    return row


def _choose(
    rows: Mapping[str, list[tuple[int, dict[str, Any]]]], path: str, name: str, benchmark: str | None
) -> tuple[Callable[[str | None], Prompt], list[Prompt]]:
    """(category -> prompt, the prompts that may be asked). Only those are checked for what we can ask."""
    if name:
        one = _prompt(rows, path, name)
        return (lambda category: one), [one]  # noqa: ARG005
    family_of = families(benchmark)
    wanted = NAMES if benchmark else {FAMILIES[0]: NAMES[FAMILIES[0]]}
    by_family = {family: _prompt(rows, path, each) for family, each in wanted.items()}
    scales = [each.name for each in by_family.values() if each.output == "scale"]
    if 0 < len(scales) < len(by_family):
        raise UsageError(
            f"--judge fastchat={path}: {', '.join(scales)} give scores and the other prompts verdicts, which make no "
            f"common figure; choose one prompt: fastchat={path}#NAME"
        )
    return (lambda category: by_family[family_of(category)]), list(by_family.values())


def _prompt(rows: Mapping[str, list[tuple[int, dict[str, Any]]]], path: str, name: str) -> Prompt:
    """The prompt of that name. UsageError where it is missing, stands twice, or cannot be asked."""
    found = rows.get(name, [])
    if not found:
        raise UsageError(
            f"--judge fastchat={path}: no prompt {name!r} there; found {', '.join(rows)}. Choose one: "
            f"fastchat={path}#NAME"
        )
    (number, row), *others = found
    where = f"--judge fastchat={path}: line {number}"
    if any(other != row for _, other in others):
        raise UsageError(f"{where}: field 'name': {name!r} stands for another prompt on line {others[0][0]} too")
    if row["type"] != "single":
        raise UsageError(f"{where}: field 'type' is {row['type']!r}, expected single (one answer is judged)")
    slots = set(SLOT.findall(row["prompt_template"]))
    if "answer" not in slots or slots - {"question", "answer"}:
        raise UsageError(
            f"{where}: field 'prompt_template': found slots {sorted(slots)}, expected {{answer}} and perhaps "
            "{question}"
        )
    return Prompt(name, row["system_prompt"], row["prompt_template"], _output(row, where))


def _output(row: Mapping[str, Any], where: str) -> str:
    form, template = row["output_format"].strip().lower(), row["prompt_template"]
    if form in ("", "safe/unsafe"):
        return "words"
    if form == "[[0/1]]" or (form == "[[rating]]" and "[[0]]" in template and "[[1]]" in template):
        return "binary"
    if form in ("[[rating]]", "[[1-10]]"):
        return "scale"
    raise UsageError(
        f"{where}: field 'output_format' is {row['output_format']!r}, expected [[rating]], [[0/1]], [[1-10]], "
        "safe/unsafe or nothing"
    )
