"""ecso-report.png: the card's picture. Bars of figures, and nothing of any picture, query or answer."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

WIDTH, MARGIN, LINE, LABEL = 1200, 40, 34, 330
SCALE = WIDTH - LABEL - 2 * MARGIN - 130
INK, PALE, GRID = (32, 38, 46), (120, 130, 142), (226, 230, 235)
KEPT, LOST, DIRECT, FINAL = (38, 110, 168), (205, 214, 224), (214, 126, 62), (38, 140, 104)
MOST = 14
"""Lines of one chart; what is beyond is counted in its title."""
NAME = 34


def draw(facts: Mapping[str, Any]) -> bytes:
    """The PNG: rows through curation, and harmless answers by category where there are any. Same facts, same bytes."""
    from PIL import Image

    rates = [line for line in facts["categories"] if _share(line.direct) is not None][:MOST]
    steps = [step for step in facts["steps"] if step[2]] or facts["steps"][-1:]
    height = 2 * MARGIN + 74 + LINE * (min(len(steps), MOST) + 1) + (96 + 2 * LINE * len(rates) if rates else 0)
    image = Image.new("RGB", (WIDTH, height), "white")
    canvas = _Canvas(image)
    canvas.title("Rows through curation", f"{facts['counts']['read']:,} read, {facts['counts']['sft']:,} kept")
    _funnel(canvas, steps[:MOST], facts["counts"])
    if rates:
        canvas.top += 40
        canvas.title("Harmless answers in %", "direct answer (orange) against final answer (green), by category")
        for line in rates:
            canvas.bar(line.name, _share(line.direct) or 0.0, DIRECT, line.direct)
            canvas.bar("", _share(line.final) or 0.0, FINAL, line.final)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _funnel(canvas: _Canvas, steps: Sequence[tuple[str, int, int, int]], counts: Mapping[str, int]) -> None:
    read = max(1, counts["read"])
    for name, before, dropped, after in steps:
        canvas.bar(name, after / read, KEPT, f"-{dropped:,}", pale=before / read)
    canvas.bar("kept", counts["sft"] / read, KEPT, f"{counts['sft']:,}")


def _share(text: str) -> float | None:
    """The figure at the head of a rate's text ('31.5 [28.1, 35.2]')."""
    try:
        return min(1.0, max(0.0, float(text.split()[0]) / 100))
    except (ValueError, IndexError):
        return None


class _Canvas:
    """Lines of text and bars, from the top down."""

    def __init__(self, image: Image.Image) -> None:
        from PIL import ImageDraw, ImageFont

        self._draw: ImageDraw.ImageDraw = ImageDraw.Draw(image)
        self._plain, self._large = ImageFont.load_default(17), ImageFont.load_default(26)
        self.top = MARGIN

    def title(self, words: str, below: str) -> None:
        self._draw.text((MARGIN, self.top), words, INK, self._large)
        self._draw.text((MARGIN, self.top + 34), below, PALE, self._plain)
        self.top += 70

    def bar(self, name: str, part: float, colour: tuple[int, int, int], words: str, pale: float = 0.0) -> None:
        """One bar: `part` of the full width; `pale` behind it, what was there before."""
        left, middle = LABEL + MARGIN, self.top + LINE // 2
        shown = html.unescape(name.replace("\\", ""))
        shown = shown if len(shown) <= NAME else shown[: NAME - 1] + "…"
        self._draw.text((left - 14, middle), shown, INK, self._plain, anchor="rm")
        self._draw.rectangle((left, middle - 11, left + SCALE, middle + 11), GRID)
        if pale > 0:
            self._draw.rectangle((left, middle - 11, left + int(SCALE * min(1.0, pale)), middle + 11), LOST)
        if part > 0:
            self._draw.rectangle((left, middle - 11, left + int(SCALE * min(1.0, part)), middle + 11), colour)
        self._draw.text((left + SCALE + 10, middle), words.split(" [")[0], INK, self._plain, anchor="lm")
        self.top += LINE
