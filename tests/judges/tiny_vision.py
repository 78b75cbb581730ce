"""Random-weight Llama 4 and Mllama (Llama 3.2 Vision) with their real processors, and a template of a guard's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.backends.tiny_models import byte_tokenizer, save

GUARD = (
    "{{ '<|begin_of_text|><|HEAD_START|>user<|HEAD_END|>\\n\\n' }}"
    "{% for message in messages %}{{ 'User: ' if message['role'] == 'user' else 'Agent: ' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<|image|>' }}"
    "{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{{ '\\n\\n' }}{% endfor %}{{ '<|END|>' }}"
    "{% if add_generation_prompt %}{{ '<|HEAD_START|>assistant<|HEAD_END|>\\n\\n' }}{% endif %}"
)
"""Conversation as a document to judge, like Llama Guard's own; the words of its task are left out."""


def template(start: str, end: str, turn: str) -> str:
    return GUARD.replace("HEAD_START", start).replace("HEAD_END", end).replace("END", turn)


def llama4(folder: Path) -> Path:
    """Dense text layers, one tile of two by two patches."""
    import torch
    import transformers as hf

    marks = ["image_start", "image_end", "image", "patch", "tile_x_separator", "tile_y_separator"]
    names = ["begin_of_text", "eot", "header_start", "header_end", *marks, "finetune_right_pad"]
    tokenizer = byte_tokenizer(
        [f"<|{name}|>" for name in names], bos="<|begin_of_text|>", eos="<|eot|>", pad="<|finetune_right_pad|>"
    )
    processor = hf.Llama4Processor(
        hf.Llama4ImageProcessor(size={"height": 28, "width": 28}, max_patches=4),
        tokenizer,
        patch_size=14,
        pixel_shuffle_ratio=0.5,
        chat_template=template("header_start", "header_end", "eot"),
    )
    vision = hf.Llama4VisionConfig(
        hidden_size=32,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        vision_output_dim=64,
        projector_input_dim=64,
        projector_output_dim=64,
        pixel_shuffle_ratio=0.5,
    )
    text = hf.Llama4TextConfig(
        vocab_size=len(tokenizer),
        intermediate_size=64,
        intermediate_size_mlp=128,
        head_dim=32,
        num_local_experts=1,
        num_experts_per_tok=1,
        moe_layers=[],
        attention_chunk_size=2048,
        **sizes(2),
    )
    index = tokenizer.convert_tokens_to_ids
    torch.manual_seed(6)
    model = hf.Llama4ForConditionalGeneration(
        hf.Llama4Config(
            vision_config=vision,
            text_config=text,
            image_token_index=index("<|patch|>"),
            boi_token_index=index("<|image_start|>"),
            eoi_token_index=index("<|image_end|>"),
        )
    )
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(10)
    return save(model, processor, folder, tokenizer)


def mllama(folder: Path) -> Path:
    """One cross-attention layer, its gates open; the placeholder lies behind the vocabulary that can be written."""
    import torch
    import transformers as hf
    from transformers.models.mllama.configuration_mllama import MllamaTextConfig, MllamaVisionConfig

    names = ["begin_of_text", "eot_id", "start_header_id", "end_header_id", "python_tag", "finetune_right_pad_id"]
    tokenizer = byte_tokenizer(
        [f"<|{name}|>" for name in names], bos="<|begin_of_text|>", eos="<|eot_id|>", pad="<|finetune_right_pad_id|>"
    )
    words = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|image|>"]})
    ratios = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    processor = hf.MllamaProcessor(
        hf.MllamaImageProcessor(size={"height": 28, "width": 28}, max_image_tiles=4),
        tokenizer,
        chat_template=template("start_header_id", "end_header_id", "eot_id"),
    )
    vision = MllamaVisionConfig(
        hidden_size=32,
        attention_heads=2,
        num_hidden_layers=2,
        num_global_layers=1,
        intermediate_size=64,
        image_size=28,
        patch_size=14,
        vision_output_dim=64,
        intermediate_layers_indices=[1],
        max_num_tiles=4,
        supported_aspect_ratios=ratios,
    )
    text = MllamaTextConfig(
        vocab_size=words,
        intermediate_size=128,
        cross_attention_layers=[1],
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=tokenizer.pad_token_id,
        **sizes(3),
    )
    torch.manual_seed(7)
    model = hf.MllamaForConditionalGeneration(
        hf.MllamaConfig(vision_config=vision, text_config=text, image_token_index=words)
    )
    with torch.no_grad():
        model.lm_head.weight.mul_(10)
        for name, parameter in model.named_parameters():
            if "gate" in name and parameter.numel() == 1:
                parameter.fill_(3.0)
    return save(model, processor, folder, tokenizer)


def sizes(layers: int) -> dict[str, Any]:
    return {
        "hidden_size": 64,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
    }
