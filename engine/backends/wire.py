"""What goes over the wire where no token ids can be sent: texts whose special-token strings are broken up, and pictures
as data URLs. Exports break texts up the same way, since trainers tokenise rendered text too."""

from __future__ import annotations

import base64
import re

from engine.backends.prompting import prepare
from engine.types import Picture

SPECIAL = re.compile(
    r"<[|｜][^<>|｜]{1,40}[|｜]>|</?s>|<(?:image|video|audio|pad|unk|bos|eos|mask)>|<(?:start|end)_of_(?:turn|image)>"
    r"|<(?:image_soft_token|IMG_CONTEXT)>|</?img>|\[/?(?:INST|IMG|AVAILABLE_TOOLS|TOOL_CALLS)\]|<</?SYS>>",
    re.IGNORECASE,
)
JOINER = "\u200d"


def neutralise(text: str) -> tuple[str, int]:
    """The text with special-token strings broken by a zero-width joiner, and how many there were."""
    return SPECIAL.subn(lambda match: match.group()[0] + JOINER + match.group()[1:], text)


def data_url(picture: Picture, prep: str) -> str:
    """The picture's own bytes where they show what every other backend sees, else its preparation as PNG."""
    from io import BytesIO

    from engine.pictures import mime

    if prep != "pad" and _is_plain(picture):
        return f"data:{mime(picture.format)};base64,{base64.b64encode(picture.data).decode()}"
    buffer = BytesIO()
    prepare(picture, prep).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_plain(picture: Picture) -> bool:
    """8-bit RGB, upright, one frame, of a format that every server reads."""
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(picture.data)) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        plain = image.mode == "RGB" and "transparency" not in image.info and getattr(image, "n_frames", 1) == 1
        return picture.format in ("PNG", "JPEG", "WEBP") and upright and plain
