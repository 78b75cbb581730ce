"""From rows to the tensors that TRL's trainers take: padded on the right, pictures one behind the other.

TRL's own vision collators render and tokenise text anew (without BOS and end token, special-token strings in a query
as tokens), so each method has its collator here, over rows that are token ids already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.backends.features import Features, stack, types_of
from engine.training.pictures import PictureStore
from engine.training.rows import IGNORED, Labelled, Pair, Row
from engine.types import Picture


class Collator:
    """Base: looks rows up by number (`examples` are the small records of the data set that the trainer holds)."""

    def __init__(self, rows: Sequence[Any], store: PictureStore | None, pad: int) -> None:
        self._rows, self._store, self._pad = rows, store, pad

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.batch([self._rows[example["row"]] for example in examples])

    def batch(self, rows: Sequence[Any]) -> dict[str, Any]:
        raise NotImplementedError

    def sequences(self, ids: Sequence[Sequence[int]], shown: Sequence[Sequence[Picture]]) -> dict[str, Any]:
        """input_ids, attention_mask and the pictures' tensors, one sequence a list of pictures."""
        batch: dict[str, Any] = {
            "input_ids": padded(ids, self._pad),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
        }
        store = self._store
        found = [[store.features(picture) for picture in pictures] if store is not None else [] for pictures in shown]
        flat: list[Features] = [features for row in found for features in row]
        if any(features.types is not None for features in flat):
            types = [types_of(row, features, len(row)) for row, features in zip(ids, found, strict=True)]
            batch["mm_token_type_ids"] = padded(types, 0)
        for name in flat[0].tensors if flat else ():
            batch[name] = stack([features.tensors[name] for features in flat])
        return batch


class SftCollator(Collator):
    """`labels` beside the inputs."""

    def batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        batch = self.sequences([row.ids for row in rows], [row.pictures for row in rows])
        return batch | {"labels": padded([row.labels for row in rows], IGNORED)}


class DpoCollator(Collator):
    """All chosen sequences, then all rejected ones; the pictures come twice. Log-probabilities of the reference model
    that were computed before (TRL keeps them as columns of the data set) go along."""

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        known = [name for name in ("ref_chosen_logps", "ref_rejected_logps") if name in examples[0]]
        return super().__call__(examples) | {name: torch.tensor([e[name] for e in examples]) for name in known}

    def batch(self, rows: Sequence[Pair]) -> dict[str, Any]:
        prompts = [row.prompt for row in rows] * 2
        answers = [row.chosen for row in rows] + [row.rejected for row in rows]
        return _answered(self, prompts, answers, [row.pictures for row in rows] * 2)


class KtoCollator(Collator):
    """Each prompt with its answer, and for the KL term with the answer of the row before it in the batch."""

    def batch(self, rows: Sequence[Labelled]) -> dict[str, Any]:
        import torch

        prompts, answers = [row.prompt for row in rows], [row.answer for row in rows]
        pictures = [row.pictures for row in rows]
        batch = _answered(self, prompts, answers, pictures)
        other = _answered(self, prompts, answers[-1:] + answers[:-1], pictures)
        for name in ("input_ids", "attention_mask", "completion_mask", "mm_token_type_ids"):
            if name in other:
                batch[f"KL_{name}"] = other[name]
        return batch | {"label": torch.tensor([row.label for row in rows])}


COLLATORS = {"sft": SftCollator, "dpo": DpoCollator, "kto": KtoCollator, "detoxifier": SftCollator}


def collator_of(objective: str) -> type[Collator]:
    """The collator of an objective's rows."""
    if objective == "harm-detector":
        from engine.training.protector.objective import DetectorCollator

        return DetectorCollator
    return COLLATORS[objective]


def _answered(
    collator: Collator,
    prompts: Sequence[tuple[int, ...]],
    answers: Sequence[tuple[int, ...]],
    pictures: Sequence[Sequence[Picture]],
) -> dict[str, Any]:
    whole = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    mask = [[0] * len(prompt) + [1] * len(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    return collator.sequences(whole, pictures) | {"completion_mask": padded(mask, 0)}


def padded(rows: Sequence[Sequence[int]], value: int) -> Any:
    """A (rows, longest) int64 tensor, `value` on the right of shorter rows."""
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])
