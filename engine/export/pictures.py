"""Pictures as a trainer should meet them: what it decodes is what the model saw when the answer was made.

Trainers open files with Pillow and `.convert("RGB")`: that turns no picture upright, shows hidden colours under alpha,
clips 16-bit grey to white, and may take another frame. Such pictures are written as PNG of the engine's own preparation
(`engine.pictures.to_rgb`); all others keep their bytes. Not covered: padding to a square (a trainer's own setting).
"""

from __future__ import annotations

import io
from functools import lru_cache

from engine.pictures import inspect, to_rgb

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
PLAIN_MODES = ("RGB", "L")
ORIENTATION = 0x0112


@lru_cache(maxsize=8)
def plain(data: bytes) -> tuple[bytes, str]:
    """(bytes, file suffix): the picture's own bytes where every decoder agrees on them, else a PNG of what was seen.

    Raises SourceError for bytes that do not decode.
    """
    from PIL import Image

    kind = inspect(data, "picture").format
    if kind in SUFFIXES:
        with Image.open(io.BytesIO(data)) as image:
            upright = image.getexif().get(ORIENTATION, 1) == 1
            single = getattr(image, "n_frames", 1) == 1
            if upright and single and image.mode in PLAIN_MODES and "transparency" not in image.info:
                return data, SUFFIXES[kind]
    buffer = io.BytesIO()
    to_rgb(data).save(buffer, "PNG")
    return buffer.getvalue(), ".png"
