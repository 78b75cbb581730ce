"""Every spelling of a label that is one token: `yes` is `yes`, `Yes`, `YES`, ` yes`, `▁Yes`, …

A model answers with the spelling that its training taught it, and tokenizers differ in which of them are one token, so
the probability of a label is the sum over all of them (peers: vllm#29280, vllm#8111).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.errors import UsageError

SPACES = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n", "ĉ": "\t"})
"""How SentencePiece and byte-level BPE write white space inside their vocabularies."""


class LabelIds:
    """Resolves labels against one tokenizer's vocabulary; each label is looked for once."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = set(tokenizer.added_tokens_decoder)
        self._found: dict[str, tuple[int, ...]] = {}

    def __call__(self, labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """label -> its token ids. Raises UsageError for a label that no single token spells."""
        missing = [label for label in labels if label not in self._found]
        if missing:
            self._found.update(self._search(missing))
        return {label: self._found[label] for label in labels}

    def _search(self, labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
        ids: dict[str, set[int]] = {label.strip().casefold(): set() for label in labels}
        for token, index in self._tokenizer.get_vocab().items():
            plain = token.translate(SPACES).strip().casefold()
            if plain in ids and index not in self._special:
                ids[plain].add(index)
        for plain, found in ids.items():
            found.update(self._encoded(plain))
            if not found:
                raise UsageError(
                    f"label {plain!r}: no spelling of it is a single token of this model; "
                    "use --preset paper, which reads the reply's text"
                )
        return {label: tuple(sorted(ids[label.strip().casefold()])) for label in labels}

    def _encoded(self, plain: str) -> set[int]:
        """Spellings that only encoding finds (vocabularies written in bytes of their own kind)."""
        found = set()
        for word in (plain, plain.capitalize(), plain.upper()):
            for spelling in (word, f" {word}"):
                encoded = self._tokenizer.encode(spelling, add_special_tokens=False)
                if len(encoded) == 1 and self._tokenizer.decode(encoded).strip().casefold() == plain:
                    found.add(int(encoded[0]))
        return found - self._special


def combine(ids: Mapping[str, Iterable[int]], logprobs: Mapping[int, float]) -> dict[str, float]:
    """label -> log of the summed probability of its spellings; -inf where none was given."""
    return {label: logsumexp([logprobs[i] for i in wanted if i in logprobs]) for label, wanted in ids.items()}


def logsumexp(values: Sequence[float]) -> float:
    """log(sum(exp(v))), without overflow; -inf for nothing. At most 0: probabilities of one token sum to 1."""
    top = max(values, default=-math.inf)
    if top == -math.inf:
        return top
    return min(0.0, top + math.log(sum(math.exp(value - top) for value in values)))
