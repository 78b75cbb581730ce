"""All pairs as token ids, before a model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from engine.training.protector.model import prompter_of
from engine.training.protector.pairs import PairSource
from engine.training.protector.rows import PairEncoder
from engine.training.rows import AnyRow

if TYPE_CHECKING:
    from engine.training.plan import Job


def prepare(job: Job, source: PairSource) -> tuple[Any, PairEncoder, list[AnyRow]]:
    """(prompter, encoder, rows). UsageError where no row is left, or all answers have the same label."""
    config = job.config
    prompter = prompter_of(job.load, config.revision, trust_remote_code=config.trust_remote_code)
    encoder = PairEncoder(prompter, int(prompter.tokenizer.eos_token_id), job.recipe.max_length)
    found = list(source.rows(config.objective, encoder))
    if not found:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in encoder.left_out.items())
        first = f"; the first: {encoder.named[0]}" if encoder.named else ""
        raise UsageError(f"--data {config.data}: no pair is left to train on ({reasons or 'there is none'}{first})")
    if config.objective == "harm-detector":
        labels = {label for row in found for label in (row.safer_is_safe, row.other_is_safe)}  # type: ignore[union-attr]
        if len(labels) < 2:
            raise UsageError(
                f"--data {config.data}: all answers of its {len(found):,} pairs are "
                f"{'safe' if True in labels else 'unsafe'}; a detector needs both"
            )
    return prompter, encoder, found
