"""One row of a utility set, whatever its layout, as turns and pictures.

Taken: LLaVA's `conversations` (`from` human/gpt, `value`), `messages` (`role` user/assistant, `content` as text or as
parts), `prompt` + `completion` (both lists of messages), `query` + `response`; pictures as `image` or `images`: a path,
or `{bytes, path}` as Parquet stores them. `<image>` is taken out of the text, wherever it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.export.base import Turn

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
TOKEN = "<image>"


class FormError(ValueError):
    """The row is not of a form that an export can hold."""


class MixPicture(NamedTuple):
    """A picture: its bytes where the row holds them, else a path to look for. `name`: the path, or the bytes' hash."""

    name: str
    data: bytes | None = None


class Shaped(NamedTuple):
    """Turns, user first and assistant last, and the pictures, which belong before the first question."""

    key: str
    turns: tuple[Turn, ...]
    pictures: tuple[MixPicture, ...]


def shape(raw: object) -> Shaped:
    """FormError says what was found and what was expected."""
    if not isinstance(raw, Mapping):
        raise FormError(f"found {type(raw).__name__}, expected an object")
    said = [_turn(message) for message in _messages(raw)]
    pictures = tuple(_pictures(raw))
    _check_turns(said)
    tokens = sum(turn.text.count(TOKEN) for turn in said)
    if tokens not in (len(pictures), 0):
        raise FormError(f"{tokens} {TOKEN} tokens, {len(pictures)} pictures")
    turns = tuple(Turn(turn.role, turn.text.replace(TOKEN, "").strip()) for turn in said)
    empty = [index for index, turn in enumerate(turns) if not turn.text]
    if empty:
        raise FormError(f"turn {empty[0] + 1} has no text")
    content = "\0".join([*(turn.text for turn in turns), *(picture.name for picture in pictures)])
    return Shaped(hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest(), turns, pictures)


def _messages(raw: Mapping[str, Any]) -> list[Any]:
    if raw.get("query") is not None and raw.get("response") is not None:
        return [{"role": "user", "content": raw["query"]}, {"role": "assistant", "content": raw["response"]}]
    if isinstance(raw.get("prompt"), list) and isinstance(raw.get("completion"), list):
        return [*raw["prompt"], *raw["completion"]]
    for name in ("conversations", "messages"):
        if isinstance(raw.get(name), list):
            return list(raw[name])
    raise FormError(f"no conversations, messages, prompt and completion, or query and response among {sorted(raw)}")


def _turn(message: object) -> Turn:
    if not isinstance(message, Mapping):
        raise FormError(f"a turn is {type(message).__name__}, expected an object")
    role = message.get("from") or message.get("role")
    if role not in ROLES:
        raise FormError(f"a turn from {role!r}, expected human or gpt (user or assistant)")
    content = message.get("value") if message.get("value") is not None else message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    if not isinstance(content, str):
        raise FormError(f"a turn's text is {type(content).__name__}, expected a string")
    return Turn(ROLES[role], content)


def _check_turns(turns: list[Turn]) -> None:
    roles = [turn.role for turn in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise FormError(f"turns by {', '.join(roles) or 'nobody'}: expected user and assistant in turn, user first")


def _pictures(raw: Mapping[str, Any]) -> list[MixPicture]:
    found = raw.get("images") if raw.get("images") is not None else raw.get("image")
    several = found if isinstance(found, list) else [] if found is None else [found]
    return [_picture(one) for one in several]


def _picture(one: object) -> MixPicture:
    if isinstance(one, str) and one:
        return MixPicture(one)
    if isinstance(one, Mapping) and isinstance(one.get("bytes"), bytes):
        return MixPicture(f"sha256:{hashlib.sha256(one['bytes']).hexdigest()}", one["bytes"])
    if isinstance(one, Mapping) and isinstance(one.get("path"), str):
        return MixPicture(one["path"])
    raise FormError(f"a picture is {type(one).__name__}, expected a path or {{bytes, path}}")
