"""Step one of a build: the vision tower alone learns to read, then it is frozen."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from engine.tiny.ahead import ahead
from engine.tiny.draw import Scene, draw
from engine.tiny.world import KINDS, World


def random_scenes(world: World, rng: random.Random, count: int) -> list[tuple[Any, Scene]]:
    """Pictures of random concepts in random kinds, from training seeds only."""
    kinds = rng.choices(KINDS, (5, 4, 3), k=count)
    return [draw(world, rng.choice(world.concepts), kind, rng.randrange(world.drawing.train_seeds)) for kind in kinds]


def to_pixels(pictures: Sequence[Any]) -> Any:
    """What the processor makes of pictures that already have the right size."""
    import numpy as np
    import torch

    stack = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(stack).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def _drawn(world: World, rng: random.Random, count: int) -> Iterator[tuple[list[Scene], Any]]:
    """Endless batches: what is shown, and its pixels."""
    while True:
        drawn = random_scenes(world, rng, count)
        yield [scene for _, scene in drawn], to_pixels([picture for picture, _ in drawn])


def fast() -> Any:
    """Half-precision arithmetic where the CPU has instructions for it (about 1.4 times as fast), else nothing."""
    import torch

    able = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return torch.autocast("cpu", torch.bfloat16, enabled=able)


def features(tower: Any, pixels: Any) -> Any:
    """The picture tokens that the projector gets: last layer, class token dropped."""
    return tower(pixel_values=pixels, output_hidden_states=True).hidden_states[-1][:, 1:]


def train_tower(
    world: World,
    model: Any,
    anchor: "Anchor | None",
    steps: int,
    seed: int,
    say: Callable[[str], None],
    batch: int = 128,
) -> dict[str, float]:
    """Teach the tower to name the concept from all tokens, from their mean and from a random single one.

    With an anchor, the projector learns along: each picture token goes to where its words stand.

    Single tokens must also tell the ground's colour and whether the concept is harmful, so that the
    language model finds both wherever it looks.
    """
    import torch
    from torch import nn

    torch.manual_seed(seed)
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    lesson = _Lesson(world, tower.config.hidden_size)
    read_by = [] if anchor is None else [*projector.parameters()]
    parameters = [*tower.parameters(), *read_by, *lesson.heads.parameters(), *lesson.norm.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1.5e-3, weight_decay=0.02, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.5e-3, total_steps=max(steps, 4), pct_start=0.08)
    tower.train()
    source = ahead(_drawn(world, random.Random(seed), batch))
    for step in range(steps):
        scenes, pixels = next(source)
        with fast():
            found = features(tower, pixels)
        words = torch.zeros(()) if anchor is None else anchor(scenes, projector(found.float()))
        loss = words + lesson.loss(found.float(), scenes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            say(f"tower {step:5d}/{steps} loss {loss.item():.3f} of which words {words.item():.3f}")
    tower.eval()
    return _measure(world, tower, lesson.heads, lesson.norm)


class _Lesson:
    """What the tower is asked while it learns: a linear head a question, on its normalised tokens."""

    def __init__(self, world: World, width: int) -> None:
        from torch import nn

        self.tokens = (world.drawing.size // world.drawing.patch) ** 2
        self.names = {concept.name: k for k, concept in enumerate(world.concepts)}
        self.colours = {colour: k for k, colour in enumerate(sorted(world.drawing.palette))}
        self.heads = nn.ModuleDict(
            {
                "flat": nn.Linear(width * self.tokens, len(self.names)),
                "mean": nn.Linear(width, len(self.names)),
                "single": nn.Linear(width, len(self.names)),
                "harm": nn.Linear(width, 2),
                "colour": nn.Linear(width, len(self.colours)),
                "kind": nn.Linear(width, len(KINDS)),
            }
        )
        self.norm = nn.LayerNorm(width)

    def loss(self, found: Any, scenes: Sequence[Scene]) -> Any:
        """Of a batch's tokens (batch, tokens, width): all of them, their mean, and a random single one."""
        import torch
        from torch.nn.functional import cross_entropy

        heads, found = self.heads, self.norm(found)
        one = found[torch.arange(len(scenes)), torch.randint(self.tokens, (len(scenes),))]
        concept = torch.tensor([self.names[s.concept.name] for s in scenes])
        harm = torch.tensor([int(s.concept.harmful) for s in scenes])
        colour = torch.tensor([self.colours[s.colour] for s in scenes])
        kind = torch.tensor([KINDS.index(s.kind) for s in scenes])
        return (
            cross_entropy(heads["flat"](found.flatten(1)), concept)
            + cross_entropy(heads["mean"](found.mean(1)), concept)
            + cross_entropy(heads["single"](one), concept)
            + 0.5 * cross_entropy(heads["harm"](one), harm)
            + 0.3 * cross_entropy(heads["colour"](one), colour)
            + 0.3 * cross_entropy(heads["kind"](one), kind)
        )


SHARPNESS, NAME_WEIGHT = 10.0, 2.5
WORDS, SIGN, HARM = "words", "sign", "harmful"


def said_by(scene: Scene) -> list[str]:
    """The words that a picture should look like to the language model: name, colour, kind, and harm if it shows any."""
    kind = [WORDS] * scene.has_words + [SIGN] * scene.has_sign
    return [scene.concept.name, scene.colour.capitalize(), *kind, *[HARM] * scene.concept.harmful]


class Anchor:
    """Pulls picture tokens to where the words for what they show stand in the embedding table.

    The language model then meets pictures as if they were words, and what it learns from text holds for them at once.
    Without this it needed more than a thousand steps to begin to read.
    """

    def __init__(self, world: World, model: Any, tokenizer: Any) -> None:
        self._table = model.model.get_input_embeddings().weight
        names = [concept.name for concept in world.concepts] + [colour.capitalize() for colour in world.drawing.palette]
        names += [WORDS, SIGN, HARM]
        self._ids = {name: tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in names}

    def __call__(self, scenes: Sequence[Scene], projected: Any) -> Any:
        """How badly the mean token, and a random one, stand for the words: cross-entropy plus distance."""
        import torch

        table = self._table.detach()
        unit = table.var() * table.shape[1]
        words = [[i for text in said_by(scene) for i in self._ids[text]] for scene in scenes]
        places = torch.stack([table[ids].sum(0) for ids in words])
        wanted = torch.zeros(len(scenes), table.shape[0])
        for row, (ids, scene) in enumerate(zip(words, scenes, strict=True)):
            wanted[row, ids] = 1.0
            wanted[row, self._ids[scene.concept.name]] = NAME_WEIGHT
        wanted = wanted / wanted.sum(-1, keepdim=True)
        projected = projected.float()
        picked = projected[torch.arange(len(scenes)), torch.randint(projected.shape[1], (len(scenes),))]
        loss = torch.zeros(())
        for found in (projected.mean(1), picked):
            likely = (found @ table.T * (SHARPNESS / unit)).log_softmax(-1)
            loss = loss - (wanted * likely).sum(-1).mean()
            loss = loss + 0.2 * (found - places).square().mean() / table.var()
        return loss


def _measure(world: World, tower: Any, heads: Any, norm: Any) -> dict[str, float]:
    """Share of unseen drawings named right, by kind."""
    import torch

    result = {}
    with torch.inference_mode():
        for kind in KINDS:
            pairs = [
                draw(world, c, kind, world.drawing.heldout_seeds_from + k) for c in world.concepts for k in range(2)
            ]
            truth = torch.tensor([k for k in range(len(world.concepts)) for _ in range(2)])
            found = norm(features(tower, to_pixels([picture for picture, _ in pairs])))
            result[f"{kind} flat"] = (heads["flat"](found.flatten(1)).argmax(-1) == truth).float().mean().item()
            result[f"{kind} single"] = (heads["single"](found[:, 14]).argmax(-1) == truth).float().mean().item()
    return result
