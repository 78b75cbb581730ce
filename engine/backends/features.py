"""A picture as a model takes it: the token ids that stand for it, and its tensors.

One place for the transformers backend and for training, so that both see the same picture. Not covered: video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from PIL import Image


class Features(NamedTuple):
    """One picture as the model takes it: the ids that replace its placeholder, and its tensors by name."""

    token_ids: list[int]
    types: list[int] | None
    tensors: dict[str, Any]
    bytes: int


def make(processor: Any, placeholder: str, image: Image.Image) -> Features:
    """What the model's own processor makes of one prepared picture (CPU tensors)."""
    made = dict(processor(text=[placeholder], images=[image], add_special_tokens=False, return_tensors="pt"))
    token_ids = made.pop("input_ids")[0].tolist()
    if made.pop("cross_attention_mask", None) is not None:  # Mllama: made anew for the whole prompt (`beside`)
        token_ids = [index for index in token_ids if index == processor.image_token_id]
    made.pop("attention_mask", None)
    types = made.pop("mm_token_type_ids", None)
    size = sum(tensor.numel() * tensor.element_size() for tensor in made.values())
    return Features(token_ids, None if types is None else types[0].tolist(), made, size)


def expand(token_ids: Sequence[int], placeholder: int, features: Sequence[Features]) -> list[int]:
    """Each placeholder becomes what the processor writes for its picture."""
    pictures = iter(features)
    expanded: list[int] = []
    for index in token_ids:
        if index == placeholder:
            expanded += next(pictures).token_ids
        else:
            expanded.append(index)
    return expanded


def types_of(token_ids: Sequence[int], features: Sequence[Features], length: int) -> list[int]:
    """mm_token_type_ids of one row: the pictures' own types at their places in `token_ids`, 0 up to `length`."""
    types = [0] * length
    position = 0
    for picture in features:
        position = _find(token_ids, picture.token_ids, position)
        end = position + len(picture.token_ids)
        types[position:end] = picture.types or [0] * len(picture.token_ids)
        position = end
    return types


def _find(row: Sequence[int], part: Sequence[int], start: int) -> int:
    """Where `part` begins in `row`, from `start` on (it was put there by `expand`)."""
    part = list(part)
    return next(i for i in range(start, len(row)) if row[i] == part[0] and list(row[i : i + len(part)]) == part)


def is_beside(pictures: Sequence[Features]) -> bool:
    """Does the text attend to these pictures from beside (Mllama), instead of holding them in its own sequence?"""
    return bool(pictures) and "aspect_ratio_mask" in pictures[0].tensors


def beside(rows: Sequence[Sequence[Features]], ids: Any, placeholder: int) -> dict[str, Any]:
    """Mllama's tensors for a batch: (rows, most pictures of a row, …) each, and which token sees which tile.

    `ids`: (rows, tokens), padded. Rows with fewer pictures get blank ones that no token sees; their first tile is
    marked as real, as the processor itself marks it, so that no attention row is empty.
    """
    import torch
    from transformers.models.mllama.processing_mllama import (
        convert_sparse_cross_attention_mask_to_dense,
        get_cross_attention_token_mask,
    )

    most = max(map(len, rows))
    batch: dict[str, Any] = {}
    for name, like in next(picture for row in rows for picture in row).tensors.items():
        whole = like.new_zeros((len(rows), most, *like.shape[2:]))
        if name == "aspect_ratio_mask":
            whole[..., 0] = 1
        for place, row in enumerate(rows):
            for number, picture in enumerate(row):
                whole[place, number] = picture.tensors[name][0, 0]
        batch[name] = whole
    tiles = [[int(picture.tensors["aspect_ratio_mask"].sum()) for picture in row] for row in rows]
    sparse = [get_cross_attention_token_mask(row, placeholder) for row in ids.tolist()]
    largest = batch["aspect_ratio_mask"].shape[-1]
    dense = convert_sparse_cross_attention_mask_to_dense(sparse, tiles, largest, ids.shape[1])
    return batch | {"cross_attention_mask": torch.from_numpy(dense)}


def stack(tensors: list[Any]) -> Any:
    """One behind the other on dimension 0; the other dimensions are padded with zeros to the largest (any-resolution
    models give each picture another number of tiles, and are told how many are real by `image_sizes`)."""
    import torch

    shapes = [tensor.shape[1:] for tensor in tensors]
    if len(set(shapes)) == 1:
        return torch.cat(tensors)
    largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    padded = []
    for tensor in tensors:
        room_for = tensor.new_zeros((tensor.shape[0], *largest))
        room_for[tuple(slice(0, size) for size in tensor.shape)] = tensor
        padded.append(room_for)
    return torch.cat(padded)
