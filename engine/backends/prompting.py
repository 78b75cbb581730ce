"""From messages to token ids: the one place where a model's own chat template is applied.

Prompts are sent as token ids, with one placeholder for each picture. For texts without any special-token string the
ids equal the ordinary joint tokenisation of the rendered template. A text that holds such a string (`<image>`, `</s>`,
`<|im_start|>`, …) takes the slow path: only the special tokens that the template itself wrote become special ids;
whatever stands in a text stays text. Jinja never evaluates what is inside a variable, so `{}` and `{{ }}` are text too.

Not covered: templates that write no special tokens (plain `USER:` / `ASSISTANT:` words): a query that imitates these
words is not told apart from a turn, for such a template knows no difference.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.backends.processors import TextProcessor, short
from engine.backends.templates import TEMPLATES
from engine.errors import PromptError, UsageError
from engine.types import Message, Picture

if TYPE_CHECKING:
    from PIL import Image

MIN_ROOM = 16
"""Tokens that must be left for the answer (or all that were asked for, if fewer). Between this and the wish,
`max_tokens` is cut to what is left: a long prompt still gets its short answer, and the finish reason says `length`."""
PLACEHOLDERS = ("image_token", "boi_token")
"""Attributes of processors that name the placeholder their template writes for one picture."""
NO_PLACEHOLDER = -1
"""The id that stands for none: the model reads text only."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked: ids with one placeholder a picture, the pictures in order, and the hash of both."""

    token_ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """A conversation's template around its texts: `pieces` has one element more than there are texts."""

    pieces: tuple[str, ...]
    specials: tuple[int, ...]


class Prompter:
    """Renders and tokenises for one model. Not thread-safe (the tokenizer's switch for special tokens is shared)."""

    def __init__(self, processor: Any, template_kwargs: Mapping[str, Any] | None = None) -> None:
        self._processor = processor
        self.tokenizer = processor.tokenizer
        self._kwargs = _thinking_off(_named_template(dict(template_kwargs or {})), processor)
        self._mark = secrets.token_hex(8)
        self._added = dict(self.tokenizer.added_tokens_decoder)
        self._added_ids = {token.content: index for index, token in self._added.items()}
        self._any_added = _alternatives(self._added_ids)
        self._word_added = _alternatives(token.content for token in self._added.values() if not token.special)
        self._bos = _bos(self.tokenizer)
        self._prefixes = self._adds_prefix()
        self._skeletons: dict[tuple[bool, tuple[tuple[str, int], ...]], _Skeleton] = {}
        self.placeholder = "" if isinstance(processor, TextProcessor) else self._find_placeholder()
        self.placeholder_id = int(self._added_ids.get(self.placeholder, NO_PLACEHOLDER))

    def render(self, messages: Sequence[Message], *, answered: bool = False) -> str:
        """The template's text, texts put in as they are; the BOS token that the tokenizer adds is not part of it.
        `answered`: the last message is the assistant's, so that no turn is opened for it."""
        chat = [{"role": m.role, "content": _content(m)} for m in messages]
        kwargs = {"tokenize": False, "add_generation_prompt": not answered, **self._kwargs}
        try:
            return str(self._processor.apply_chat_template(chat, **kwargs))
        except Exception as error:
            raise PromptError(f"the chat template does not render this conversation: {short(error)}") from error

    def prompt(self, messages: Sequence[Message], *, answered: bool = False) -> Prompt:
        """Token ids and their identity. Raises PromptError where the template loses a picture.

        Behind a last turn that is `begun` the model goes on with its text. With `answered` the last turn closes the
        conversation (for models that score one); else the template opens another behind it.
        """
        if messages[-1].begun:
            return self._begun(messages)
        rendered = self.render(messages, answered=answered)
        skeleton = self._skeleton(messages, answered=answered)
        ids = self.tokenizer.encode(rendered, add_special_tokens=False)
        if tuple(i for i in ids if i in self._added) != skeleton.specials:
            ids = self._guarded(skeleton, [m.text for m in messages], rendered)
        if self._bos is not None and (not ids or ids[0] != self._bos):
            ids = [self._bos, *ids]
        pictures = tuple(picture for m in messages for picture in m.pictures)
        if ids.count(self.placeholder_id) != len(pictures):
            raise PromptError(f"the chat template wrote {ids.count(self.placeholder_id)} pictures, not {len(pictures)}")
        return Prompt(tuple(ids), pictures, prompt_sha256(ids, pictures))

    def _begun(self, messages: Sequence[Message]) -> Prompt:
        """The prompt up to where the model speaks, what the template writes before an answer, and the begun answer."""
        asked = messages[:-1]
        opened, prompt = self.render(asked), self.prompt(asked)
        whole = self.render([*asked, Message("assistant", self._mark)], answered=True)
        lead, found, _ = whole.removeprefix(opened).partition(self._mark)
        text = messages[-1].text
        ids = (*prompt.token_ids, *self.following(f"{lead}{text}" if found and whole.startswith(opened) else text))
        return Prompt(ids, prompt.pictures, prompt_sha256(ids, prompt.pictures))

    @property
    def template(self) -> str | None:
        """The chat template that was given instead of the model's own."""
        found = self._kwargs.get("chat_template")
        return None if found is None else str(found)

    def following(self, text: str) -> list[int]:
        """Ids of a text behind a prompt (an answer to learn): special-token strings in it stay text, and no space is
        put before it (LLaVA-1.5's tokenizer puts one before whatever it is given)."""
        return self._run(text, first=False, behind=True)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The answer's text, without special tokens, otherwise exactly what the model wrote."""
        decoded = self.tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(decoded)

    def _skeleton(self, messages: Sequence[Message], *, answered: bool = False) -> _Skeleton:
        """The template around marks, once for each shape of conversation."""
        shape = (answered, tuple((m.role, len(m.pictures)) for m in messages))
        if shape not in self._skeletons:
            marks = [f"{self._mark}x{i}x" for i in range(len(messages))]
            marked = [Message(m.role, mark, m.pictures) for m, mark in zip(messages, marks, strict=True)]
            text = self.render(marked, answered=answered)
            pieces: list[str] = []
            for mark in marks:
                head, found, text = text.partition(mark)
                if not found:
                    raise PromptError(f"the chat template leaves out the text of a {messages[len(pieces)].role} turn")
                pieces.append(head)
            pieces.append(text)
            specials = tuple(self._added_ids[found] for piece in pieces for found in self._any_added.findall(piece))
            self._skeletons[shape] = _Skeleton(tuple(pieces), specials)
        return self._skeletons[shape]

    def _guarded(self, skeleton: _Skeleton, texts: list[str], rendered: str) -> list[int]:
        """The slow path: the template's special tokens become ids, each run between them is encoded as plain text."""
        if _joined(skeleton.pieces, texts) != rendered:  # the template trims its texts
            stripped = [text.strip() for text in texts]
            texts = stripped if _joined(skeleton.pieces, stripped) == rendered else texts
        ids: list[int] = []
        run = ""
        for piece, text in zip(skeleton.pieces, [*texts, ""], strict=True):
            position = 0
            for found in self._any_added.finditer(piece):
                run += piece[position : found.start()]
                position = found.end()
                index = self._added_ids[found.group()]
                ids += self._run(run.rstrip() if self._added[index].lstrip else run, first=not ids)
                ids.append(index)
                run = ""
            run += self._left(piece[position:], ids, run) + text
        return ids + self._run(run, first=not ids)

    def _left(self, tail: str, ids: list[int], run: str) -> str:
        """A special token with `rstrip` swallows the white space behind it."""
        swallows = bool(ids) and not run and ids[-1] in self._added and self._added[ids[-1]].rstrip
        return tail.lstrip() if swallows else tail

    def _run(self, text: str, *, first: bool, behind: bool = False) -> list[int]:
        """Plain text to ids. Added tokens that are no special ones (`<tool_call>`) are broken after one character."""
        if not text:
            return []
        ids = self._plain(text, first=first, behind=behind)
        found = self._word_added.search(text)
        if found is None or len(found.group()) < 2:
            return ids
        cut = found.start() + 1
        return self._run(text[:cut], first=first, behind=behind) + self._run(text[cut:], first=False, behind=behind)

    def _plain(self, text: str, *, first: bool, behind: bool = False) -> list[int]:
        if not behind and (first or not self._prefixes):
            return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))
        for guard in ("\n", "=", "0", "a", "."):  # something in front, so that no space is put before the run
            before = list(self.tokenizer.encode(guard, add_special_tokens=False, split_special_tokens=True))
            ids = list(self.tokenizer.encode(guard + text, add_special_tokens=False, split_special_tokens=True))
            if ids[: len(before)] == before:
                return ids[len(before) :]
        raise PromptError("a text with special-token strings does not tokenise apart from its neighbours")

    def _adds_prefix(self) -> bool:
        """Does the tokenizer put a space before its first word only (SentencePiece, prepend_scheme `first`)?"""
        special = next((t.content for t in self._added.values() if t.special and not (t.lstrip or t.rstrip)), None)
        if special is None:
            return False
        joint = self.tokenizer.encode(f"{special}abc", add_special_tokens=False)
        return list(joint[1:]) != list(self.tokenizer.encode("abc", add_special_tokens=False))

    def _find_placeholder(self) -> str:
        """Which special token does the template write for a picture? UsageError where it writes none."""
        picture = Picture(b"", "", 1, 1, "")
        try:
            text = self.render([Message("user", self._mark, (picture,))])
        except PromptError as error:
            raise UsageError(
                f"{error}; give one: --chat-template-kwargs '{{\"chat_template\": FILE_OR_NAME}}'"
            ) from error
        named = [str(getattr(self._processor, name, None) or "") for name in PLACEHOLDERS]
        token = next((name for name in named if name and name in text and name in self._added_ids), None)
        if token is None or self._mark not in text:
            raise UsageError(
                "the model's chat template renders no picture or no text for {'type': 'image'} and {'type': 'text'}; "
                "give another one: --chat-template-kwargs '{\"chat_template\": FILE_OR_NAME}'"
            )
        return token


def room(prompt_tokens: int, max_tokens: int, context: int) -> int:
    """`max_tokens`, cut to what the context leaves. PromptError where that is under MIN_ROOM (and under the wish)."""
    left = context - prompt_tokens
    if left < min(max_tokens, MIN_ROOM):
        raise PromptError(
            f"the prompt has {prompt_tokens} tokens; the model's context of {context} leaves {max(0, left)} "
            f"for the answer, at least {min(max_tokens, MIN_ROOM)} are needed"
        )
    return min(max_tokens, left)


def prompt_sha256(token_ids: Sequence[int], pictures: Sequence[Picture]) -> str:
    """sha256 over the ids (unsigned 32-bit, little-endian, one placeholder a picture) and the pictures' sha256s."""
    whole = hashlib.sha256(_little_endian(array("I", token_ids)))
    for picture in pictures:
        whole.update(b"\0" + picture.sha256.encode())
    return whole.hexdigest()


def prepare(picture: Picture, prep: str) -> Image.Image:
    """The picture as the processor gets it: RGB, and for `pad` a square. The same function as in training."""
    from engine.pictures import pad_square, to_rgb

    image = to_rgb(picture.data)
    return pad_square(image) if prep == "pad" else image


def _little_endian(values: array[int]) -> bytes:
    import sys

    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _named_template(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`chat_template`: a name of TEMPLATES, a file, or a template itself; the rest goes to the template as it is."""
    given = kwargs.get("chat_template")
    if given is None:
        return kwargs
    if given in TEMPLATES:
        return {**kwargs, "chat_template": TEMPLATES[given]}
    if "{" in str(given):
        return kwargs
    path = Path(str(given)).expanduser()
    if not path.is_file():
        raise UsageError(f"chat_template {given}: neither a file nor one of {', '.join(TEMPLATES)}")
    return {**kwargs, "chat_template": path.read_text("utf-8")}


def _thinking_off(kwargs: dict[str, Any], processor: Any) -> dict[str, Any]:
    """Where the template has the switch, off unless it was asked for: a model that thinks first would spend the judge's
    one token, and a short answer's tokens, on that."""
    found = kwargs.get("chat_template") or getattr(processor, "chat_template", None)
    found = found or getattr(processor.tokenizer, "chat_template", None)
    has_switch = "enable_thinking" in str(found)  # one template, or several by name
    return {"enable_thinking": False, **kwargs} if has_switch else kwargs


def _content(message: Message) -> list[dict[str, str]]:
    """Pictures first, then the text: the order of Message, and of every LLaVA template."""
    return [*({"type": "image"} for _ in message.pictures), {"type": "text", "text": message.text}]


def _joined(pieces: Sequence[str], texts: Sequence[str]) -> str:
    return "".join(part for pair in zip(pieces, [*texts, ""], strict=True) for part in pair)


def _bos(tokenizer: Any) -> int | None:
    """The BOS id, where the tokenizer itself begins a text with it (LLaVA's does, Qwen's does not)."""
    ids = tokenizer("a")["input_ids"]
    return (
        int(tokenizer.bos_token_id)
        if tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
        else None
    )


def _alternatives(tokens: Any) -> re.Pattern[str]:
    """Any of the tokens, longest first; for none, a pattern that never matches."""
    ordered = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
