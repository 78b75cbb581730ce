"""The detector's published objective, and trainers for both tasks (facts of harmdetector_train_saferlhf.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.training.collate import Collator
from engine.training.rows import Compared


def detector_loss(logits: Any, labels: Any) -> Any:
    """`2 * (BCE(r_j, y_j) + BCE(r_k, y_k)) + mean(-log sigmoid(r_j - r_k))`, a scalar.

    `logits`, `labels`: (2n,), the n safer texts first, then the n others in the same order; label 1 is safe. Two of the
    published form's terms stand there twice; the factor 2 is theirs.
    """
    from torch.nn import functional

    half = logits.shape[0] // 2
    safer, other = logits[:half].float(), logits[half:].float()
    absolute = functional.binary_cross_entropy_with_logits
    singly = absolute(safer, labels[:half].float()) + absolute(other, labels[half:].float())
    return 2 * singly - functional.logsigmoid(safer - other).mean()


class DetectorCollator(Collator):
    """All safer texts, then all others; `labels` 1 where a text is safe."""

    def batch(self, rows: Sequence[Compared]) -> dict[str, Any]:
        import torch

        texts = [row.safer for row in rows] + [row.other for row in rows]
        safe = [row.safer_is_safe for row in rows] + [row.other_is_safe for row in rows]
        return self.sequences(texts, [()] * len(texts)) | {"labels": torch.tensor(safe, dtype=torch.float32)}


class DetectorTrainer:
    """Laid over transformers' Trainer (`engine.training.trainers.trainer_class`)."""

    model_accepts_loss_kwargs = False
    """The loss is a mean over pairs: the trainer divides it by the steps of accumulation."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002 (transformers' signature)
    ) -> Any:
        """The published objective over one batch of pairs."""
        labels = inputs["labels"]
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        loss = detector_loss(outputs.logits.squeeze(-1), labels)
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss
