"""The real thing, small: a LLaVA of CLIP tower, projector and Llama, with tokenizer, processor and chat template."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.tiny.world import World

IMAGE_TOKEN = "<image>"
SPECIALS = ("<pad>", "<s>", "</s>", IMAGE_TOKEN)

EMBEDDING_STD = 0.5

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['content'] is string %}{% set parts = [{'type': 'text', 'text': message['content']}] %}"
    "{% else %}{% set parts = message['content'] %}{% endif %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in parts | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% if message['role'] != 'assistant' %}"
    "{% for part in parts | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% else %}"
    "{% for part in parts | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}{% endfor %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""llava-hf's template: `USER: <image>\\n{text} ASSISTANT:`."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the model. Head sizes are 32, the smallest that vLLM's CPU attention takes."""

    vocabulary: int = 1792
    text_width: int = 192
    text_layers: int = 5
    text_inner: int = 512
    vision_width: int = 128
    vision_layers: int = 4
    vision_inner: int = 512
    head: int = 32
    positions: int = 2048


def make_tokenizer(texts: Iterable[str], shape: Shape) -> Any:
    """Train a byte-level BPE tokenizer: any text encodes, and every spelling of yes and no is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    spellings = [f"{lead}{word}" for lead in ("", " ") for word in ("Yes", "yes", "No", "no")]
    raw.train_from_iterator([*texts, *(spellings * 2000)], trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        model_max_length=shape.positions,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    for spelling in spellings:
        count = len(tokenizer(spelling, add_special_tokens=False)["input_ids"])
        if count != 1:
            raise ValueError(f"tokenizer: {spelling!r} is {count} tokens, expected one")
    return tokenizer


def make_processor(world: World, tokenizer: Any) -> Any:
    """The LLaVA processor of this world's picture size."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    size = world.drawing.size
    pictures = CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=world.drawing.patch,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE_TOKEN,
        num_additional_image_tokens=1,
    )


def make_model(world: World, tokenizer: Any, shape: Shape) -> Any:
    """An untrained LLaVA; `torch.manual_seed` before the call fixes its weights."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    size, patch = world.drawing.size, world.drawing.patch
    vision = CLIPVisionConfig(
        hidden_size=shape.vision_width,
        intermediate_size=shape.vision_inner,
        num_hidden_layers=shape.vision_layers,
        num_attention_heads=shape.vision_width // shape.head,
        image_size=size,
        patch_size=patch,
        projection_dim=shape.vision_width,
    )
    heads = shape.text_width // shape.head
    text = LlamaConfig(
        vocab_size=64 * math.ceil(len(tokenizer) / 64),
        hidden_size=shape.text_width,
        intermediate_size=shape.text_inner,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=shape.positions,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(size // patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        # A wide table that reading and writing share at the start: copying a word is then nearly the identity.
        table = model.model.get_input_embeddings().weight.normal_(std=EMBEDDING_STD)
        model.lm_head.weight.copy_(table * (0.02 / EMBEDDING_STD))
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def count_parameters(model: Any) -> int:
    """All parameters, the tower's too."""
    return sum(int(p.numel()) for p in model.parameters())


def save(model: Any, processor: Any, out: Path) -> None:
    """Write a folder that transformers and vLLM both load: half-precision weights, keys as on the Hub."""
    import torch
    from safetensors.torch import load_file, save_file

    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    path = out / "model.safetensors"
    tensors = {}
    for key, value in load_file(path).items():
        # vLLM 0.32 and the Hub say vision_tower.vision_model.…; transformers 5 saves without it and loads both.
        if "vision_tower." in key and "vision_tower.vision_model." not in key:
            key = key.replace("vision_tower.", "vision_tower.vision_model.", 1)
        tensors[key] = value.to(torch.float16) if value.is_floating_point() else value
    save_file(tensors, path, metadata={"format": "pt"})


def load(folder: Path) -> tuple[Any, Any]:
    """Model (float32, eval mode) and processor of a folder."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(folder)
