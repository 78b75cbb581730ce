"""LLaVA's own way from a conversation to ids and labels, written anew from what facts are published about it.

haotian-liu/LLaVA (Apache-2.0): `conversation.py` (vicuna_v1), `mm_utils.tokenizer_image_token`, `train.preprocess_v1`.
The text is cut at `<image>`; each piece is tokenised by itself, BOS dropped from all but the first; the picture's place
is -200. A round's answer and its `</s>` are learned; the rest is IGNORED. BOS counts one in each measured length, and
the cut `ASSISTANT: ` ends one token before the answer's first piece, hence the `- 2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

IMAGE, IGNORED = -200, -100
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
SEP, SEP2, CUT = " ", "</s>", " ASSISTANT: "


def conversation(turns: Sequence[tuple[str, str]], *, picture: bool) -> str:
    """`turns`: (question, answer). The picture's token opens the first question."""
    text = SYSTEM + SEP
    for number, (question, answer) in enumerate(turns):
        shown = f"<image>\n{question}" if picture and number == 0 else question
        text += f"USER: {shown}{SEP}ASSISTANT: {answer}{SEP2}"
    return text


def with_picture(text: str, tokenizer: Any) -> list[int]:
    """tokenizer_image_token."""
    chunks = [tokenizer(chunk).input_ids for chunk in text.split("<image>")]
    offset = 1 if chunks[0][:1] == [tokenizer.bos_token_id] else 0
    ids = chunks[0][:offset]
    for number, chunk in enumerate(chunks):
        ids += ([IMAGE] if number else []) + chunk[offset:]
    return ids


def preprocess(turns: Sequence[tuple[str, str]], tokenizer: Any, *, picture: bool) -> tuple[list[int], list[int]]:
    """(ids, labels) of one conversation."""
    text = conversation(turns, picture=picture)
    ids = with_picture(text, tokenizer)
    labels = list(ids)
    place = 1
    labels[:place] = [IGNORED]
    for round_ in [part for part in text.split(SEP2) if part]:
        asked = round_.split(CUT)[0] + CUT
        length = len(with_picture(round_, tokenizer))
        question = len(with_picture(asked, tokenizer)) - 2
        labels[place : place + question] = [IGNORED] * question
        place += length
    return ids, labels
