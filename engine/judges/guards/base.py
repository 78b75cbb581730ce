"""What the generative guards share: a conversation to show, a reply to read, over the house's own backends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from engine.backends.base import Backend, BackendConfig
from engine.errors import UsageError
from engine.judges.base import Ask, Judge, Judged, JudgeOptions, Opinion, sha256
from engine.types import Message, Query, Sampling

PARTED = "\n\f\n"
"""Between the replies of a guard that was asked once a picture."""
WORST = ("harmful", "unknown", "answered", "harmless", "refused")
"""Several replies to one row: the first of these that one of them says."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says: the verdict, the guard's own categories, and a share of full marks where it grades."""

    verdict: Opinion
    categories: tuple[str, ...] = ()
    score: float | None = None


Reader = Callable[[str], Reading]
Conversations = Callable[[Query, str], Sequence[Sequence[Message]]]
"""(query, text to judge) -> what the guard is shown: one conversation, or one a picture. None at all: not judged."""
UNKNOWN = Reading("unknown")


@dataclass(frozen=True, slots=True)
class Guard:
    """How one guard is asked. `prompt` stands for its words in the hash; `template` is the chat template it is given
    where it has none of its own."""

    name: str
    version: str
    prompt: str
    conversations: Conversations
    read: Reader
    longest: int
    """Tokens of a reply."""
    field: str = "final_response"
    shows_pictures: bool = False
    text_only: bool = False
    template: str | None = None


def generative(guard: Guard, options: JudgeOptions) -> Judge:
    """The judge of a guard that writes its verdict. Needs a backend."""
    config = backend_of(guard, options)
    sampling = Sampling(max_tokens=guard.longest)

    def open_judge(backend: Backend | None) -> Ask:
        if backend is None:
            raise ValueError(f"{guard.name} is opened over a started backend")

        async def ask(query: Query, text: str) -> Judged:
            shown = guard.conversations(query, text)
            if not shown:
                return Judged("unknown", text="the row has no picture")
            said = [(await backend.generate(messages, sampling)).text for messages in shown]
            found = read_all(PARTED.join(said), guard.read)
            return Judged(found.verdict, text=PARTED.join(said), score=found.score)

        return ask

    version = f"{guard.version} {options.model_label}"
    prompt = sha256(f"{guard.prompt}\0{guard.template or ''}")
    return Judge(guard.name, version, prompt, guard.field, open_judge, config, guard.shows_pictures)


def backend_of(guard: Guard, options: JudgeOptions) -> BackendConfig:
    """The backend with what this guard needs of it. UsageError where no model is named."""
    given = options.backend
    if given is None:
        raise UsageError(
            f"--judge {guard.name} asks its model: name it (annotate: --model, evaluate: --judge-model), a folder, "
            "a Hub id, or what a server calls it"
        )
    kwargs: dict[str, Any] = dict(given.chat_template_kwargs)
    if guard.template is not None and given.name != "openai":
        kwargs.setdefault("chat_template", guard.template)
    return replace(given, longest_answer=guard.longest, text_only=guard.text_only, chat_template_kwargs=kwargs)


def read_all(text: str, read: Reader) -> Reading:
    """Several replies as one: the worst verdict, all categories, the lowest score."""
    found = [read(part) for part in text.split(PARTED)]
    verdict = min((reading.verdict for reading in found), key=WORST.index)
    categories = tuple(dict.fromkeys(category for reading in found for category in reading.categories))
    scores = [reading.score for reading in found if reading.score is not None]
    return Reading(verdict, categories, min(scores, default=None))


def words(name: str, options: JudgeOptions, slots: Sequence[Sequence[str]] = ()) -> str:
    """The guard's prompt: the file behind `NAME=`, else our own words (`engine/judges/prompts/NAME.txt`).

    `slots`: of each group of names, one must stand in the text as `{name}`. UsageError where a file lacks them.
    """
    if options.file is None:
        return files("engine.judges").joinpath("prompts", f"{name}.txt").read_text("utf-8")
    try:
        text = Path(options.file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--judge {name}={options.file}: cannot be read ({error})") from error
    for group in slots:
        if not any("{" + slot + "}" in text for slot in group):
            expected = " or ".join("{" + slot + "}" for slot in group)
            raise UsageError(f"--judge {name}={options.file}: found no slot {expected} in the prompt")
    return text
