"""From a dialogue to token ids and labels: the prompt exactly as generation asks it, then the answer and its end.

Prompt ids come from `engine.backends.prompting`, so that training and generation see the same ones: BOS where the
tokenizer puts one, special-token strings in a query as plain text, one placeholder a picture. The chat template says
what stands between its opened turn and the answer (LLaVA: one space), and what ends the turn; where it writes no end
token (the Hugging Face LLaVA template does not) the tokenizer's own is appended, else the model would never stop.

Every answer of a dialogue is learned, as in LLaVA's own training: in one sequence where the template renders a longer
dialogue as a continuation of the shorter one, else as one row a round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.backends.prompting import Prompter
from engine.errors import PromptError
from engine.export.base import Turn
from engine.types import Message, Picture

_MARK = "q7f3k9"


class Span(NamedTuple):
    """Where an answer stands in the ids, its end token included."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Ids with one placeholder a picture, and the answers in them."""

    ids: tuple[int, ...]
    answers: tuple[Span, ...]
    pictures: tuple[Picture, ...]


class _Turn(NamedTuple):
    """What the template writes around an answer: text before it, text after it, and the token that ends it."""

    before: str
    after: str
    end: int


class Writer:
    """Encodes dialogues for one model. Not thread-safe (as the Prompter)."""

    def __init__(self, prompter: Prompter, ends: Sequence[int]) -> None:
        self._prompter = prompter
        self._tokenizer = prompter.tokenizer
        self._ends = tuple(ends)
        self._turn = self._read_template()

    def answer(self, text: str) -> tuple[int, ...]:
        """Ids of an answer behind the opened turn, with its end token."""
        return (*self._prompter.following(f"{self._turn.before}{text}{self._turn.after}"), self._turn.end)

    def prompt(self, turns: Sequence[Turn], pictures: Sequence[Picture]) -> tuple[int, ...]:
        """Ids that generation would send for these turns (the last one the user's); the pictures go first."""
        return self._prompter.prompt(_messages(turns, pictures)).token_ids

    def rounds(self, turns: Sequence[Turn], pictures: Sequence[Picture]) -> list[Encoded]:
        """The dialogue's sequences: one if the template allows it, else one for each of its answers."""
        found: list[Encoded] = []
        for position in range(1, len(turns), 2):
            ids = self.prompt(turns[:position], pictures)
            answer = self.answer(turns[position].text)
            spans: tuple[Span, ...] = (Span(len(ids), len(ids) + len(answer)),)
            if found and ids[: len(found[-1].ids)] == found[-1].ids:
                spans = (*found.pop().answers, *spans)
            found.append(Encoded((*ids, *answer), spans, tuple(pictures)))
        return found

    def _read_template(self) -> _Turn:
        asked = [Message("user", _MARK + "u")]
        opened = self._prompter.render(asked)
        whole = self._prompter.render([*asked, Message("assistant", _MARK + "a")], answered=True)
        mark = _MARK + "a"
        if mark not in whole:
            raise PromptError("the chat template leaves out the assistant's text")
        if whole.startswith(opened):
            before, _, after = whole[len(opened) :].partition(mark)
        else:  # LLaVA-OneVision opens a turn with `assistant\n`, and writes `assistant \n` before an answer
            before, after = "", whole.partition(mark)[2]
        return _Turn(before, *self._end_of(after))

    def _end_of(self, after: str) -> tuple[str, int]:
        """Text before the first end token that the template writes, and that token; else no text and the default."""
        for index in self._ends:
            text, found, _ = after.partition(self._tokenizer.convert_ids_to_tokens(index))
            if found and not any(token.content in text for token in self._tokenizer.added_tokens_decoder.values()):
                return text, index
        return "", self._ends[0]


def end_tokens(tokenizer: Any, generation_eos: Any) -> tuple[int, ...]:
    """Ids that end an answer, the tokenizer's own first. PromptError where there are none."""
    listed = generation_eos if isinstance(generation_eos, list | tuple) else [generation_eos]
    ends = dict.fromkeys(int(i) for i in (tokenizer.eos_token_id, *listed) if i is not None)
    if not ends:
        raise PromptError("neither the tokenizer nor the model's generation config names an end token")
    return tuple(ends)


def _messages(turns: Sequence[Turn], pictures: Sequence[Picture]) -> list[Message]:
    roles: dict[str, Any] = {"user": "user", "assistant": "assistant"}
    shown = [Message(roles[turn.role], turn.text) for turn in turns]
    return [Message("user", shown[0].text, tuple(pictures)), *shown[1:]]
