"""TRL's trainers with what the house needs: own collators and order of rows, small checkpoints, parameter groups.

A checkpoint holds the parameters that learn, under their own names, and the optimizer's state: transformers' own
loading of a checkpoint skips keys that it does not know, and a LLaVA's keys are renamed when they are saved. Its
`trainer_state.json` is written last, so that a checkpoint that a kill broke off is seen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.training.models import Parts, groups
from engine.training.presets import Recipe

WEIGHTS = "trainable.safetensors"
STATE = "trainer_state.json"
TASKS = ("harm-detector", "detoxifier")
POOL = 8
"""Batches that are filled from one shuffled pool sorted by length: less padding, order still drawn by the seed."""


class Order:
    """A sampler: rows in an order that seed and epoch alone decide, so that a resumed run goes on where it was."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, *, by_length: bool) -> None:
        self._lengths, self._batch, self._seed, self._by_length = lengths, batch, seed, by_length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"order/{self._seed}/{self.epoch}")
        rows = list(range(len(self._lengths)))
        rng.shuffle(rows)
        if not self._by_length:
            return iter(rows)
        batches: list[list[int]] = []
        for start in range(0, len(rows), self._batch * POOL):
            pool = sorted(rows[start : start + self._batch * POOL], key=lambda row: self._lengths[row])
            batches += [pool[k : k + self._batch] for k in range(0, len(pool), self._batch)]
        full = [batch for batch in batches if len(batch) == self._batch]
        rng.shuffle(full)
        # A short batch goes last: in the middle it would shift the cuts of all batches behind it.
        return iter([row for batch in (*full, *(b for b in batches if len(b) < self._batch)) for row in batch])


class HouseTrainer:
    """Laid over a TRL trainer (`trainer_class`)."""

    order: Order
    recipe: Recipe
    parts: Parts

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:  # noqa: ARG002 (transformers' signature)
        return self.order

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """Rows are token ids already; TRL would look for columns to tokenise."""
        return dataset

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW over the house's parameter groups."""
        me: Any = self
        if me.optimizer is None:
            learned = me.model if model is None else model
            cls, kwargs = me.get_optimizer_cls_and_kwargs(me.args, learned)
            decayed = set(me.get_decay_parameter_names(learned))
            me.optimizer = cls(groups(learned, self.recipe, self.parts, decayed), **kwargs)
        return me.optimizer

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """TRL writes a README into every checkpoint; the house writes training.json once."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002 (transformers')
        from safetensors.torch import save_file

        me: Any = self
        folder = Path(output_dir or me.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        model = me.accelerator.unwrap_model(me.model)
        kept = {n: p.detach().cpu().contiguous() for n, p in model.named_parameters() if p.requires_grad}
        save_file(kept, str(folder / WEIGHTS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_trained(self.unwrapped(model), Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        me: Any = self
        load_trained(self.unwrapped(None), Path(str(me.state.best_model_checkpoint)))

    def unwrapped(self, model: Any) -> Any:
        """The model itself, out of whatever several devices wrapped it in."""
        me: Any = self
        return me.accelerator.unwrap_model(me.model if model is None else model)


def load_trained(model: Any, folder: Path) -> None:
    """Put a checkpoint's parameters into the model. UsageError where they are not those that learn here."""
    import torch
    from safetensors.torch import load_file

    kept = load_file(str(folder / WEIGHTS))
    learned = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if set(kept) != set(learned):
        raise UsageError(f"{folder}: holds other parameters than this training learns; choose a new --out")
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(kept[name])


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps that was written to its end."""
    found = []
    for path in folder.glob("checkpoint-*"):
        try:
            steps = int(json.loads((path / STATE).read_text("utf-8"))["global_step"])
        except (OSError, ValueError, KeyError):
            continue
        if (path / WEIGHTS).is_file():
            found.append((steps, path))
    return max(found)[1] if found else None


@cache
def trainer_class(method: str) -> Any:
    """TRL's trainer of a method (transformers' of a task) with `HouseTrainer` over it."""
    if method in TASKS:
        from transformers import Trainer

        from engine.training.protector.objective import DetectorTrainer

        own = (DetectorTrainer,) if method == "harm-detector" else ()
        return type("HouseTextTrainer", (HouseTrainer, *own, Trainer), {})
    from trl import DPOTrainer, KTOTrainer, SFTTrainer

    base = {"sft": SFTTrainer, "dpo": DPOTrainer, "kto": KTOTrainer}[method]
    return type(f"House{base.__name__}", (HouseTrainer, base), {})


@cache
def arguments_class(method: str) -> Any:
    """TRL's configuration class of a method, or transformers' of a task."""
    if method in TASKS:
        from transformers import TrainingArguments

        return TrainingArguments
    from trl import DPOConfig, KTOConfig, SFTConfig

    return {"sft": SFTConfig, "dpo": DPOConfig, "kto": KTOConfig}[method]
