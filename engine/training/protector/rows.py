"""Pairs as token ids: two texts and their labels for the detector, prompt and rewriting for the detoxifier.

Templates are the published training's (`strategies/prompts/detector_robust.txt`, `detoxify_robust.txt`). Detoxifier:
prompt ids exactly as the strategy asks them, then the answer's and the end token; only those two are learned. (The
published script tokenises prompt and answer together, which may join the space between them with the first word.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.backends.prompting import Prompter
from engine.strategies import prompts
from engine.training.protector.pairs import SafetyPair
from engine.training.rows import IGNORED, NAMED, AnyRow, Compared, Row, length_of
from engine.types import Message

SORRY = "Sorry, I can not answer this question."
"""The target where both answers are unsafe (correction_model_withquestion.py)."""


@dataclass
class PairEncoder:
    """Encodes pairs; `left_out` counts by reason, `named` says which (the first ones)."""

    prompter: Prompter
    end: int
    max_length: int
    left_out: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)

    def encode(self, objective: str, pair: SafetyPair) -> Iterator[AnyRow]:
        """One row, or none where the pair cannot be used."""
        if not (pair.question.strip() and pair.safer.strip() and pair.other.strip()):
            self.leave_out("empty text", pair.id, "a question and two answers are expected")
            return
        if objective == "harm-detector":
            row: AnyRow = self.compared(pair)
        elif pair.kind == "over_refusal":
            self.leave_out("over-refusal", pair.id, "no answer is less safe than the other")
            return
        else:
            row = self.rewriting(pair)
        length = length_of(row)
        if length > self.max_length:
            self.leave_out("too long", pair.id, f"{length:,} tokens, --max-length is {self.max_length:,}")
            return
        yield row

    def compared(self, pair: SafetyPair) -> Compared:
        """Both texts as the detector reads them."""
        questions = (pair.question, pair.question if pair.other_question is None else pair.other_question)
        safer, other = (
            self._text(prompts.fill(prompts.load("detector_robust"), question=question, response=answer))
            for question, answer in zip(questions, (pair.safer, pair.other), strict=True)
        )
        return Compared(pair.id, pair.kind, safer, other, pair.safer_is_safe, pair.other_is_safe)

    def rewriting(self, pair: SafetyPair) -> Row:
        """Less safe -> safer, or the fixed sentence where neither is safe."""
        target = pair.safer if pair.safer_is_safe or pair.other_is_safe else SORRY
        text = prompts.fill(prompts.load("detoxify_robust"), question=pair.question, response=pair.other)
        asked = self.prompter.prompt([Message("user", text)]).token_ids
        answer = (*self.prompter.following(target), self.end)
        return Row(pair.id, pair.kind, (*asked, *answer), (*[IGNORED] * len(asked), *answer), ())

    def _text(self, text: str) -> tuple[int, ...]:
        """As `engine.backends.classifier` tokenises, but nothing is cut."""
        return tuple(self.prompter.tokenizer(text, split_special_tokens=True)["input_ids"])

    def leave_out(self, reason: str, name: str, words: str) -> None:
        """Count a pair that is not used."""
        self.left_out[reason] += 1
        if len(self.named) < NAMED:
            self.named.append(f"{name}: {reason}: {words}")
