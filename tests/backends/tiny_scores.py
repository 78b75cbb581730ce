"""Random-weight helper models through their real files: a CLIP, and a reward model with a chat template or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.backends.tiny_models import byte_tokenizer, llama_config

CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def tokenizer(chat: str | None = None) -> Any:
    specials = ["<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>"]
    made = byte_tokenizer(specials, bos="<s>", eos="</s>", pad="<pad>")
    made.padding_side, made.chat_template = "right", chat
    return made


def clip(folder: Path, seed: int = 0) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    made = tokenizer()
    text = {"vocab_size": len(made), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 32, "eos_token_id": 2, "bos_token_id": 1}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 36, "patch_size": 12}
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 36}, "crop_size": {"height": 36, "width": 36}}
    CLIPImageProcessor(**sizes).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def reward(folder: Path, *, chat: str | None = None, seed: int = 0) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    made = tokenizer(chat)
    config = llama_config(made, LlamaConfig)
    config.num_labels, config.pad_token_id = 1, made.pad_token_id
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        model.score.weight.mul_(30)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
