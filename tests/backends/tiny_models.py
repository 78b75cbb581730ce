"""Random-weight models in the shapes of LLaVA, LLaVA-OneVision and Qwen2.5-VL, with real processors and templates.

They know nothing; they show that another model's template, picture tokens and positions pass through the backends.
Sizes obey vLLM's CPU attention (heads of 32).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = (
    "the picture shows a red round sign on table QUERY RESPONSE REQUEST USER ASSISTANT Answer harmful image describe"
)
SPELLINGS = [f"{lead}{word}" for lead in ("", " ") for word in ("Yes", "yes", "No", "no")]

LLAVA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
ONEVISION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + part['text'] }}{% endfor %}"
    "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer(specials: Sequence[str], *, bos: str | None, eos: str, pad: str, words: Sequence[str] = ()) -> Any:
    """A byte-level BPE of about 400 tokens. `words`: added tokens that are no special ones (like `<tool_call>`)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([WORDS] * 20 + SPELLINGS * 200, trainer)
    raw.add_tokens([AddedToken(word, special=False, normalized=False) for word in words])
    if bos is not None:
        pair = [(bos, raw.token_to_id(bos))]
        raw.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=pair)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def save(model: Any, processor: Any, folder: Path, tokenizer: Any) -> Path:
    """Model and processor, in the form that both transformers and vLLM load."""
    for ids in (model.generation_config, model.config.get_text_config()):
        ids.eos_token_id = tokenizer.eos_token_id
        ids.pad_token_id = tokenizer.pad_token_id
        ids.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def llava(folder: Path, *, seed: int = 0) -> Path:
    """CLIP tower, projector, Llama; 36 picture tokens. BOS by the tokenizer, template without special tokens."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = byte_tokenizer(["<pad>", "<s>", "</s>", "<image>"], bos="<s>", eos="</s>", pad="<pad>")
    pictures = CLIPImageProcessor(size={"shortest_edge": 72}, crop_size={"height": 72, "width": 72})
    processor = LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=12,
        vision_feature_select_strategy="default",
        chat_template=LLAVA,
        num_additional_image_tokens=1,
    )
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=72,
        patch_size=12,
        projection_dim=64,
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=llama_config(tokenizer, LlamaConfig),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            image_seq_length=36,
            vision_feature_layer=-1,
        )
    )
    louder(model)
    save(model, processor, folder, tokenizer)
    weights = {
        key.replace("vision_tower.", "vision_tower.vision_model.", 1) if "vision_model" not in key else key: value
        for key, value in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def llama_config(tokenizer: Any, config: Any) -> Any:
    """The text model's sizes, for Llama and Qwen2 alike."""
    return config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )


def louder(model: Any) -> None:
    """Random weights of the usual size give nearly equal logits; ten-fold output weights give them a clear first."""
    import torch

    with torch.no_grad():
        model.lm_head.weight.mul_(10)


def onevision(folder: Path) -> Path:
    """SigLIP tower, any-resolution tiles, Qwen2; ChatML template, no BOS."""
    import torch
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
        Qwen2Config,
        SiglipVisionConfig,
    )

    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"],
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        words=["<tool_call>"],
    )
    size = {"height": 48, "width": 48}
    grid = [[48, 96], [96, 48], [96, 96]]
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=grid),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=ONEVISION,
    )
    vision = SiglipVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=48,
        patch_size=12,
        vision_use_head=False,
    )
    torch.manual_seed(1)
    model = LlavaOnevisionForConditionalGeneration(
        LlavaOnevisionConfig(
            vision_config=vision,
            text_config=llama_config(tokenizer, Qwen2Config),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
            image_grid_pinpoints=grid,
            vision_feature_select_strategy="full",
            vision_feature_layer=-1,
        )
    )
    louder(model)
    return save(model, processor, folder, tokenizer)


def qwen2_5_vl(folder: Path) -> Path:
    """Window attention tower, native resolution, three-dimensional positions, Qwen2; ChatML with a system message."""
    import torch
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    vision_tokens = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *vision_tokens],
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        words=["<tool_call>"],
    )
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in vision_tokens}
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 16}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=QWEN,
    )
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 6, 6]},
        "tie_word_embeddings": False,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
    }
    torch.manual_seed(2)
    model = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config=text,
            vision_config=vision,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
        )
    )
    louder(model)
    return save(model, processor, folder, tokenizer)


MAKERS = {"llava": llava, "onevision": onevision, "qwen2_5_vl": qwen2_5_vl}
