"""Planted defects and hard negatives, as rows of a transcript.

`planted/HALF/NAME.jsonl`: one case a line, `drop` (is it a defect?) and the fields that differ from a healthy row.
HALF is `tune` (looked at while the filters were written), one of `first` to `eighth` (held out once, then read; only
the filters that were then changed have later ones), or `heldout` (only scored).
All of it is made up: names, addresses and numbers belong to nobody (see docs/filters.md).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from engine.curation import filters, refusal
from engine.curation.filters.base import Row

FOLDER = Path(__file__).parent / "planted"
READ = ("tune", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
"""Rows that were looked at: `tune` from the start, the others after they had been scored once as held out."""
HALVES = (*READ, "heldout")
NAMES = (*filters.FILTERS, "refusal")
"""Every filter, and the refusal detection that they (and evaluation) share."""
BARE = "unrelated_bare"
"""Rows of `unrelated` without a caption and a direct answer, which every real row has: scored, not asserted."""
DEFAULTS: dict[str, Row] = {
    "hint_leak": {"eyes_closed": True, "query": "What should I do with it?"},
    "caption_copy": {"eyes_closed": True},
    "over_refusal": {"label_safe": True},
    "unrelated": {"eyes_closed": True},
    "unrelated_bare": {"eyes_closed": True},
}


def healthy() -> Row:
    """A row that no filter drops."""
    return {
        "query_id": "0" * 64,
        "query": "How do I brew a pot of green tea?",
        "picture_sha256": ["ab" * 32],
        "status": "ok",
        "final_verdict": "harmless",
        "final_response": "To brew a pot of green tea, heat the water to eighty degrees and steep it for two minutes.",
        "attempts": 0,
        "label_safe": None,
        "eyes_closed": False,
        "caption": None,
        "reference": None,
        "error_message": None,
        "strategy": "ecso",
        "steps": [],
    }


def there(half: str, name: str) -> bool:
    """Whether the half has rows for this filter."""
    return (FOLDER / half / f"{name}.jsonl").exists()


def cases(half: str, name: str) -> Iterator[tuple[Row, bool]]:
    """(row, is it a defect) of one file."""
    for line in (FOLDER / half / f"{name}.jsonl").read_text("utf-8").splitlines():
        fields = json.loads(line)
        drop = fields.pop("drop")
        row = healthy() | DEFAULTS.get(name, {}) | fields
        if "steps" not in fields:
            row["steps"] = [{"name": "answer", "attempt": 0, "finish_reason": "stop", "text": row["final_response"]}]
        if "picture" in fields:
            row["picture_sha256"] = [json.dumps(fields["picture"])]
        yield row, drop


def judge(name: str) -> Callable[[Row], str | None]:
    """What the planted cases of `name` are put to: the evidence of a drop, or None."""
    if name == "refusal":
        return lambda row: refusal.refusal_evidence(row["final_response"])
    name = name.removesuffix("_bare")
    run = filters.make(name, {"pictures": picture} if name == "picture_quality" else {})

    def check(row: Row) -> str | None:
        drop = run(row)
        return None if drop is None else f"{drop.reason}: {drop.evidence}"

    return check


def picture(spec: str) -> bytes:
    """A drawn picture as PNG; its spec (JSON) stands in place of the hash."""
    wanted = json.loads(spec)
    size, draw = tuple(wanted["size"]), wanted["draw"]
    if draw == "broken":
        return b"\x89PNG\r\n\x1a\n" + b"no picture" * 20
    found = BytesIO()
    _drawn(size, draw).save(found, "TIFF" if draw == "cmyk" else "PNG")
    return found.getvalue()


def _drawn(size: tuple[int, int], draw: str) -> Image.Image:
    chance = random.Random(0)
    grounds = {"blank": "#5a7d9a", "blank-black": "black", "blank-white": "white", "nearly-blank": "#808080"}
    image = Image.new("RGB", size, grounds.get(draw, "white"))
    pen = ImageDraw.Draw(image)
    middle = (size[0] // 2, size[1] // 2)
    if draw == "noise":
        image.putdata([tuple(chance.randbytes(3)) for _ in range(size[0] * size[1])])
    elif draw == "nearly-blank":
        image.putdata([(127 + chance.randrange(3),) * 3 for _ in range(size[0] * size[1])])
    elif draw in ("text", "grey-text"):
        pen.text((3, 3), "tea brewing", fill="black" if draw == "text" else "#c0c0c0")
    elif draw in ("dot", "black-dot"):
        pen.point([middle, (middle[0] + 1, middle[1])], fill="black")
    elif draw == "gradient":
        for x in range(size[0]):
            pen.line([(x, 0), (x, size[1])], fill=(255 * x // size[0],) * 3)
    elif draw == "stripes":
        for x in range(0, size[0], 4):
            pen.line([(x, 0), (x, size[1])], fill="red")
    elif draw == "palette":
        pen.ellipse([10, 10, 50, 50], fill="green")
        return image.quantize(8)
    elif draw == "cmyk":
        pen.ellipse([10, 10, 50, 50], fill="green")
        return image.convert("CMYK")
    elif draw == "transparent":
        return Image.new("RGBA", size, (200, 30, 30, 0))
    return image
