"""Drawings of the world: the name written, a sign, or both, on a coloured ground. Same seed, same bytes."""

import math
import random
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from engine.tiny.world import LIST, Concept, Drawing, Sign, World

Point = tuple[float, float]

ITEMS, ITEM_SIZE = 3, 7
"""The numbers of a list stand side by side below its title, which is drawn where the words of a typographic picture
are: moved up, with the numbers in rows below, the embedded model misread it more often than not."""


@dataclass(frozen=True)
class Scene:
    """What a picture shows, known because we drew it."""

    concept: Concept
    kind: str
    colour: str
    seed: int

    @property
    def has_words(self) -> bool:
        """Whether the name is written in it."""
        return self.kind != "pictorial"

    @property
    def has_sign(self) -> bool:
        """Whether the sign is drawn in it."""
        return self.kind in ("pictorial", "both")


def draw(world: World, concept: Concept, kind: str, seed: int) -> tuple[Image.Image, Scene]:
    """Draw a concept in one of the kinds; the seed picks ground, ink, size and place."""
    rng = random.Random(f"{world.name}/{concept.name}/{kind}/{seed}")
    settings = world.drawing
    colour = rng.choice(sorted(settings.palette))
    ink = rng.choice(settings.inks)
    image = Image.new("RGB", (settings.size, settings.size), settings.palette[colour])
    pen = ImageDraw.Draw(image)
    half = settings.size * 0.6
    if kind == "typographic":
        _write(pen, world, concept.name, settings.text_sizes, (0.0, float(settings.size)), ink, rng)
    elif kind == "pictorial":
        _sign(pen, settings, concept.sign, (0.0, float(settings.size)), rng.uniform(0.30, 0.38), ink, rng)
    elif kind == "both":
        _sign(pen, settings, concept.sign, (0.0, half), rng.uniform(0.25, 0.28), ink, rng)
        _write(pen, world, concept.name, settings.small_text_sizes, (half, float(settings.size)), ink, rng)
    elif kind == LIST:
        _write(pen, world, concept.name, settings.text_sizes, (0.0, float(settings.size)), ink, rng)
        _items(pen, world, ink)
    else:
        raise ValueError(f"kind {kind!r}: expected typographic, pictorial, both or {LIST}")
    return image, Scene(concept, kind, colour, seed)


def png(image: Image.Image) -> bytes:
    """The picture as PNG bytes, as small as Pillow makes them."""
    buffer = BytesIO()
    image.quantize(colors=16, dither=Image.Dither.NONE).convert("RGB").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _write(
    pen: ImageDraw.ImageDraw,
    world: World,
    name: str,
    sizes: tuple[int, ...],
    band: tuple[float, float],
    ink: str,
    rng: random.Random,
) -> None:
    """Write the words of a name, one a line, as large as fits, near the middle of the band."""
    words = name.split()
    jitter = world.drawing.jitter
    font, line = _fitting(world, words, rng.choice(sizes))
    spare = max(0.0, band[1] - band[0] - line * len(words) - 1)
    top = band[0] + min(spare, max(0.0, spare / 2 + rng.uniform(-jitter, jitter)))
    left = 2 + rng.uniform(0, jitter)
    for word in words:
        room = world.drawing.size - 1 - pen.textlength(word, font=font)
        pen.text((round(max(0.0, min(left, room))), round(top)), word, fill=ink, font=font)
        top += line


def _items(pen: ImageDraw.ImageDraw, world: World, ink: str) -> None:
    """The numbers of the list under its title; nothing stands behind them."""
    size, bitmap = world.drawing.size, world.font == "bitmap"
    font = ImageFont.load_default_imagefont() if bitmap else ImageFont.load_default(ITEM_SIZE)
    top = size - 11 if bitmap else round(size * 8 / 9)
    for place in range(ITEMS):
        pen.text((size // 12 + round(place * size * 0.31), top), f"{place + 1}.", fill=ink, font=font)


def _fitting(world: World, words: list[str], size: int) -> tuple[ImageFont.ImageFont | ImageFont.FreeTypeFont, int]:
    """The font at this size, or smaller if a word would not fit; and the height of a line."""
    if world.font == "bitmap":
        return ImageFont.load_default_imagefont(), 12
    while True:
        font = ImageFont.load_default(size)
        if size <= 8 or max(font.getlength(word) for word in words) <= world.drawing.size - 4:
            return font, size + 2
        size -= 1


def _sign(
    pen: ImageDraw.ImageDraw,
    settings: Drawing,
    sign: Sign,
    band: tuple[float, float],
    scale: float,
    ink: str,
    rng: random.Random,
) -> None:
    """Draw frame, figure and mark somewhere inside the band."""
    radius = settings.size * scale
    reach = min(radius, (band[1] - band[0]) / 2)
    radius = reach - 1
    play = 2.5 * settings.jitter
    x = settings.size / 2 + rng.uniform(-1, 1) * min(play, settings.size / 2 - radius - 1)
    y = (band[0] + band[1]) / 2 + rng.uniform(-1, 1) * min(play, (band[1] - band[0]) / 2 - reach)
    width = rng.choice(settings.line_widths)
    pen.line([*_frame(sign.frame, x, y, radius)], fill=ink, width=width, joint="curve")
    _figure(pen, sign.figure, x, y, radius * 0.45, ink, width)
    if sign.mark == "tick":
        reach = radius * 0.95
        pen.line([(x - radius, y + reach), (x + radius, y + reach)], fill=ink, width=width + 1)


def _ring(x: float, y: float, radius: float, corners: int, turn: float = 0.0) -> list[Point]:
    angles = [turn + 2 * math.pi * k / corners for k in range(corners + 1)]
    return [(x + radius * math.sin(a), y - radius * math.cos(a)) for a in angles]


def _frame(name: str, x: float, y: float, r: float) -> list[Point]:
    """The outline of a frame as a closed line."""
    s = r * 0.85
    outlines: dict[str, list[Point]] = {
        "circle": _ring(x, y, r * 0.95, 24),
        "square": [(x - s, y - s), (x + s, y - s), (x + s, y + s), (x - s, y + s), (x - s, y - s)],
        "triangle": [(x, y - r), (x + r, y + s), (x - r, y + s), (x, y - r)],
        "diamond": _ring(x, y, r, 4),
        "hexagon": _ring(x, y, r, 6, math.pi / 6),
        "shield": [(x - s, y - s), (x + s, y - s), (x + s, y), (x, y + r), (x - s, y), (x - s, y - s)],
        "house": [(x, y - r), (x + s, y - r * 0.3), (x + s, y + s), (x - s, y + s), (x - s, y - r * 0.3), (x, y - r)],
        "drop": [(x - r, y - s), *_ring(x + r * 0.1, y, r * 0.85, 12, -math.pi / 4)[:-1], (x - r, y - s)],
    }
    return outlines[name]


def _figure(pen: ImageDraw.ImageDraw, name: str, x: float, y: float, r: float, ink: str, width: int) -> None:
    """Draw the inner figure of a sign."""
    box = (x - r, y - r, x + r, y + r)
    if name == "dot":
        pen.ellipse((x - r * 0.7, y - r * 0.7, x + r * 0.7, y + r * 0.7), fill=ink)
    elif name == "ring":
        pen.ellipse(box, outline=ink, width=width)
    elif name == "moon":
        pen.chord(box, 60, 240, fill=ink)
    elif name == "star":
        points = [_ring(x, y, r * (1.1 if k % 2 == 0 else 0.45), 10)[k] for k in range(10)]
        pen.polygon(points, fill=ink)
    else:
        for stroke in _strokes(name, x, y, r):
            pen.line(stroke, fill=ink, width=width)


def _strokes(name: str, x: float, y: float, r: float) -> list[list[Point]]:
    wave = [(x - r + 2 * r * k / 12, y - r * 0.6 * math.sin(2 * math.pi * k / 12)) for k in range(13)]
    strokes: dict[str, list[list[Point]]] = {
        "bar": [[(x - r, y), (x + r, y)]],
        "plus": [[(x - r, y), (x + r, y)], [(x, y - r), (x, y + r)]],
        "cross": [[(x - r, y - r), (x + r, y + r)], [(x - r, y + r), (x + r, y - r)]],
        "zigzag": [[(x - r, y - r), (x + r, y - r), (x - r, y + r), (x + r, y + r)]],
        "wave": [wave],
        "arrow": [[(x, y + r), (x, y - r)], [(x - r * 0.8, y - r * 0.2), (x, y - r), (x + r * 0.8, y - r * 0.2)]],
    }
    return strokes[name]
