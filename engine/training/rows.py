"""Rows of a training set as token ids, ready to be put into batches. What cannot be used is left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.backends.features import expand
from engine.backends.prompting import Prompter
from engine.errors import PromptError, SourceError, UsageError
from engine.export.base import Dialogue
from engine.training.pictures import PictureStore
from engine.training.tokens import Span, Writer
from engine.types import Picture

IGNORED = -100
NAMED = 20
"""Left-out rows that are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence, pictures expanded. `labels`: the ids where they are learned, IGNORED elsewhere."""

    id: str
    source: str
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a chosen and a rejected answer (ids with their end tokens)."""

    id: str
    source: str
    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt with one answer, wanted or not."""

    id: str
    source: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    label: bool
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """Two texts for a harm detector, the safer one first, each with its label."""

    id: str
    source: str
    safer: tuple[int, ...]
    other: tuple[int, ...]
    safer_is_safe: bool
    other_is_safe: bool
    pictures: tuple[Picture, ...] = ()


AnyRow = Row | Pair | Labelled | Compared


def length_of(row: AnyRow) -> int:
    """Tokens of the row's longest sequence."""
    if isinstance(row, Row):
        return len(row.ids)
    if isinstance(row, Compared):
        return max(len(row.safer), len(row.other))
    if isinstance(row, Pair):
        return len(row.prompt) + max(len(row.chosen), len(row.rejected))
    return len(row.prompt) + len(row.answer)


@dataclass
class Encoder:
    """Encodes dialogues; `left_out` counts by reason, `named` says which (the first ones)."""

    prompter: Prompter
    writer: Writer
    store: PictureStore
    max_length: int
    left_out: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def supervised(self, dialogues: Iterator[Dialogue]) -> Iterator[Row]:
        """sft: a row a dialogue, or a row a round where the template does not chain them."""
        for dialogue in dialogues:
            pictures = self._pictures(dialogue)
            if pictures is None:
                continue
            try:
                found = self.writer.rounds(dialogue.turns, pictures)
            except PromptError as error:
                self._leave_out("does not render", dialogue, str(error))
                continue
            for one in found:
                ids, spans = self._expanded(one.ids, one.answers, pictures)
                labels = [IGNORED] * len(ids)
                for start, end in spans:
                    labels[start:end] = ids[start:end]
                row = Row(dialogue.id, dialogue.source, ids, tuple(labels), pictures)
                if self._fits(row, dialogue):
                    yield row

    def pairs(self, dialogues: Iterator[Dialogue]) -> Iterator[Pair]:
        """dpo: the last answer against the rejected one."""
        for dialogue in dialogues:
            asked = self._asked(dialogue)
            if asked is not None:
                prompt, pictures = asked
                answers = (self.writer.answer(dialogue.turns[-1].text), self.writer.answer(dialogue.rejected or ""))
                pair = Pair(dialogue.id, dialogue.source, prompt, *answers, pictures)
                if self._fits(pair, dialogue):
                    yield pair

    def labelled(self, rows: Iterator[tuple[Dialogue, bool]]) -> Iterator[Labelled]:
        """kto: each answer with its label; of a false one the text is `rejected`."""
        for dialogue, label in rows:
            asked = self._asked(dialogue)
            if asked is not None:
                prompt, pictures = asked
                text = dialogue.turns[-1].text if label else dialogue.rejected or ""
                row = Labelled(dialogue.id, dialogue.source, prompt, self.writer.answer(text), label, pictures)
                if self._fits(row, dialogue):
                    yield row

    def _asked(self, dialogue: Dialogue) -> tuple[tuple[int, ...], tuple[Picture, ...]] | None:
        pictures = self._pictures(dialogue)
        if pictures is None:
            return None
        try:
            ids = self.writer.prompt(dialogue.turns[:-1], pictures)
        except PromptError as error:
            self._leave_out("does not render", dialogue, str(error))
            return None
        return self._expanded(ids, (), pictures)[0], pictures

    def _pictures(self, dialogue: Dialogue) -> tuple[Picture, ...] | None:
        try:
            return tuple(self.store.add(data, f"{dialogue.id} picture {i}") for i, data in enumerate(dialogue.images))
        except SourceError as error:
            self._leave_out("bad picture", dialogue, str(error))
            return None

    def _expanded(
        self, ids: tuple[int, ...], spans: tuple[Span, ...], pictures: tuple[Picture, ...]
    ) -> tuple[tuple[int, ...], list[Span]]:
        """Each placeholder becomes its picture's ids; the spans move along (pictures stand before all answers)."""
        shown = [self.store.features(picture) for picture in pictures]
        longer = tuple(expand(ids, self.prompter.placeholder_id, shown))
        more = len(longer) - len(ids)
        return longer, [Span(start + more, end + more) for start, end in spans]

    def _fits(self, row: AnyRow, dialogue: Dialogue) -> bool:
        length = length_of(row)
        if length > self.max_length:
            self._leave_out("too long", dialogue, f"{length:,} tokens, --max-length is {self.max_length:,}")
        return length <= self.max_length

    def _leave_out(self, reason: str, dialogue: Dialogue, words: str) -> None:
        self.left_out[reason] += 1
        if len(self.named) < NAMED:
            self.named.append(f"{dialogue.id}: {reason}: {words}")


def require(rows: list[AnyRow], encoder: Encoder, data: str) -> None:
    """UsageError where nothing is left to train on, or no row has a picture."""
    if not rows:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in encoder.left_out.items())
        first = f"; the first: {encoder.named[0]}" if encoder.named else ""
        raise UsageError(f"--data {data}: no row is left to train on ({reasons or 'there is none'}{first})")
    if not any(row.pictures for row in rows):
        raise UsageError(f"--data {data}: none of its {len(rows):,} rows has a picture; expected rows with pictures")
