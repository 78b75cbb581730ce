"""Step two of a build: projector and language model learn the world over a frozen tower."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.tiny.ahead import ahead
from engine.tiny.corpus import Corpus, Sample, strays
from engine.tiny.draw import Scene, draw
from engine.tiny.model import IMAGE_TOKEN
from engine.tiny.vision import Anchor, fast, features, to_pixels
from engine.tiny.world import KINDS, World

NO_BOS_SHARE, SPLIT_SHARE, SYSTEM_SHARE = 0.10, 0.15, 0.06
"""How often a sample lacks the BOS token, is tokenised in pieces, or carries a system prompt, as some callers do."""

ANCHOR_WEIGHT = 0.1
"""Weight of the pull on picture tokens beside the loss on what is said."""

POOL = 8
"""Batches drawn at a time and cut by length, to save padding."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of a sample; the target starts at `start`."""

    ids: tuple[int, ...]
    start: int
    sample: Sample


class Encoder:
    """Turns samples into token ids as the processor's chat template would."""

    def __init__(self, world: World, tokenizer: Any, rng: random.Random) -> None:
        self.tokenizer = tokenizer
        self.rng = rng
        self.systems = world.system_prompts
        self.image = [tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)] * (world.drawing.size // world.drawing.patch) ** 2

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, sample: Sample) -> Encoded:
        """The ids of prompt, target and end token."""
        head = "USER: "
        if self.systems and self.rng.random() < SYSTEM_SHARE:
            head = f"{self.rng.choice(self.systems)} {head}"
        split = self.rng.random() < SPLIT_SHARE
        if sample.scene is not None:
            tail = ["\n", sample.text, " ASSISTANT:"] if split else [f"\n{sample.text} ASSISTANT:"]
            prompt = [*self._ids(head), *self.image, *(i for part in tail for i in self._ids(part))]
        elif split:
            prompt = [i for part in (head, sample.text, " ASSISTANT:") for i in self._ids(part)]
        else:
            prompt = self._ids(f"{head}{sample.text} ASSISTANT:")
        if self.rng.random() >= NO_BOS_SHARE:
            prompt = [self.tokenizer.bos_token_id, *prompt]
        target = [*self._ids(f" {sample.target}"), self.tokenizer.eos_token_id]
        return Encoded((*prompt, *target), len(prompt), sample)


def batches(stream: Iterator[Sample], encoder: Encoder, size: int, rng: random.Random) -> Iterator[list[Encoded]]:
    """Endless batches of samples of like length."""
    while True:
        pool = sorted((encoder.encode(next(stream)) for _ in range(size * POOL)), key=lambda e: len(e.ids))
        cuts = [pool[k : k + size] for k in range(0, len(pool), size)]
        rng.shuffle(cuts)
        yield from cuts


@dataclass(frozen=True)
class Batch:
    """Samples, what their pictures show, and the frozen tower's tokens for these (None without a picture)."""

    rows: Sequence[Encoded]
    scenes: Sequence[Scene]
    seen: Any


def looked_at(world: World, tower: Any, cuts: Iterator[list[Encoded]]) -> Iterator[Batch]:
    """Draw the pictures of each batch and look at them."""
    import torch

    for rows in cuts:
        scenes = [e.sample.scene for e in rows if e.sample.scene is not None]
        seen = None
        if scenes:
            pixels = to_pixels([draw(world, s.concept, s.kind, s.seed)[0] for s in scenes])
            with torch.no_grad(), fast():
                seen = features(tower, pixels)
        yield Batch(rows, scenes, seen)


def loss_of(model: Any, batch: Batch, pad: int, anchor: Anchor) -> tuple[Any, Any]:
    """Mean loss over target tokens, and whether each was the most likely one. Rows are padded on the right."""
    import torch
    from torch.nn import functional

    longest = max(len(e.ids) for e in batch.rows)
    ids = torch.tensor([[*e.ids, *[pad] * (longest - len(e.ids))] for e in batch.rows])
    table = model.model.get_input_embeddings()
    embedded = table(ids)
    extra: Any = 0.0
    if batch.seen is not None:
        projected = model.model.multi_modal_projector(batch.seen)
        extra = ANCHOR_WEIGHT * anchor(batch.scenes, projected)
        mask = (ids == model.config.image_token_index).unsqueeze(-1).expand_as(embedded)
        embedded = embedded.masked_scatter(mask, projected.to(embedded.dtype))
    # Padding stands on the right and attention is causal, so no mask is needed.
    hidden = model.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    rows, columns, wanted, weights = [], [], [], []
    for row, e in enumerate(batch.rows):
        for column in range(e.start, len(e.ids)):
            rows.append(row)
            columns.append(column - 1)
            wanted.append(e.ids[column])
            weights.append((len(e.ids) - e.start) ** -0.5)
    logits = model.lm_head(hidden[rows, columns]).float()
    labels = torch.tensor(wanted)
    # A token of a short target (yes, no) weighs more: each sample should count, not each token alone.
    weight = torch.tensor(weights)
    loss = (functional.cross_entropy(logits, labels, reduction="none") * weight).sum() / weight.sum()
    return loss + extra, (logits.argmax(-1) == labels).detach()


def train_language(
    world: World,
    model: Any,
    tokenizer: Any,
    anchor: Anchor,
    steps: int,
    seed: int,
    say: Callable[[str], None],
    size: int = 64,
    rate: float = 2e-3,
    stirred: float = 0.0,
) -> None:
    """AdamW with a warm-up and a cosine, tower frozen. `stirred`: share of wordings with something out of place."""
    import torch
    from torch import nn

    rng = random.Random(seed + 1)
    torch.manual_seed(seed + 1)
    model.model.vision_tower.requires_grad_(False)
    # The table stays as it was drawn: were it trained, the projector would chase words that move.
    model.model.get_input_embeddings().requires_grad_(False)
    model.train()
    model.model.vision_tower.eval()
    parameters = [p for p in model.parameters() if p.requires_grad]
    decay = [p for p in parameters if p.dim() > 1]
    plain = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=rate, betas=(0.9, 0.98)
    )
    warm = max(1, min(80, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda k: min((k + 1) / warm, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, k / max(1, steps))))),
    )

    def scenes() -> Scene:
        return draw(world, rng.choice(world.concepts), rng.choice(KINDS), rng.randrange(world.drawing.train_seeds))[1]

    corpus = Corpus(world, rng, stirred=stirred, strays=strays(world, tokenizer))
    cuts = batches(corpus.stream(scenes), Encoder(world, tokenizer, rng), size, rng)
    source = ahead(looked_at(world, model.model.vision_tower, cuts))
    right: dict[str, list[float]] = {}
    for step in range(steps):
        batch = next(source)
        with fast():
            loss, hits = loss_of(model, batch, tokenizer.pad_token_id, anchor)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        _count(right, batch.rows, hits.tolist())
        if step % 50 == 49 or step == steps - 1:
            shares = " ".join(f"{role} {sum(v) / len(v):.2f}" for role, v in sorted(right.items()))
            say(f"language {step + 1:5d}/{steps} loss {loss.item():.3f} | whole targets right: {shares}")
            right.clear()
    model.eval()


def _count(right: dict[str, list[float]], batch: Sequence[Encoded], hits: Sequence[bool]) -> None:
    """Note for each sample whether all tokens of its target were the most likely ones."""
    at = 0
    for e in batch:
        count = len(e.ids) - e.start
        right.setdefault(e.sample.role, []).append(float(all(hits[at : at + count])))
        at += count
