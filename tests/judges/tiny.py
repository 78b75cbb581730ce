"""Random-weight models in the shapes of the guards and classifiers, with real tokenizers, processors and adapters.

They know nothing; they show that template, truncation, label order and files pass through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.backends.tiny_models import byte_tokenizer, llama_config, louder, save

WORDS = ["<unk>", "<s>", "</s>"]


def tokenizer(pad: str | None = "</s>") -> Any:
    made = byte_tokenizer(WORDS, bos="<s>", eos="</s>", pad="</s>")
    if pad is None:
        made.pad_token = None
    made.padding_side = "right"
    return made


def llama_base(folder: Path, seed: int = 0) -> Path:
    """A language model without a classification layer, as Llama-2 and OpenLLaMA come; no padding mark."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    made = tokenizer(None)
    torch.manual_seed(seed)
    LlamaForCausalLM(llama_config(made, LlamaConfig)).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def classifier(folder: Path, labels: int, seed: int = 0) -> Path:
    """A whole sequence classifier."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    made = tokenizer()
    config = llama_config(made, LlamaConfig)
    config.num_labels, config.pad_token_id = labels, made.pad_token_id
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(config)
    with torch.no_grad():
        model.score.weight.mul_(30)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def adapter(base: Path, folder: Path, labels: int, *, seed: int = 1, with_head: bool = True) -> Path:
    """A LoRA adapter of a sequence classifier over `base`, as PEFT writes it; `with_head`: the layer is in it."""
    import torch
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    model.config.pad_token_id = 2
    kind = TaskType.SEQ_CLS if with_head else TaskType.FEATURE_EXTRACTION
    tuned = get_peft_model(model, LoraConfig(task_type=kind, r=4, lora_alpha=32, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
            elif "score.modules_to_save" in name:
                parameter.mul_(30)
    tuned.save_pretrained(folder)
    return folder


def roberta(folder: Path, file: Path, labels: int = 2, *, buffer: bool = False) -> tuple[Path, Path]:
    """(base folder, state dict) of GuardRank's encoder: `roberta.*` and `linear.*` in one .pt file."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    made = byte_tokenizer(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], bos="<s>", eos="</s>", pad="<pad>")
    torch.manual_seed(3)
    config = RobertaConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=300,
        initializer_range=0.5,  # so that every token, and every padding, counts
        pad_token_id=made.pad_token_id,
    )
    model = RobertaModel(config)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    linear = torch.nn.Linear(32, labels)
    state = {f"roberta.{name}": value for name, value in model.state_dict().items()}
    state |= {f"linear.{name}": value for name, value in linear.state_dict().items()}
    if buffer:
        state["roberta.embeddings.position_ids"] = torch.arange(300).expand(1, -1)
    torch.save(state, file)
    return folder, file


def text_model(folder: Path, template: str | None) -> Path:
    """A Mistral that reads text only, with a chat template or without one."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    made = byte_tokenizer([*WORDS, "[INST]", "[/INST]"], bos="<s>", eos="</s>", pad="</s>")
    made.chat_template = template
    torch.manual_seed(4)
    model = MistralForCausalLM(llama_config(made, MistralConfig))
    louder(model)
    for ids in (model.generation_config, model.config):
        ids.eos_token_id, ids.pad_token_id, ids.bos_token_id = 2, 2, 1
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


SHIELD = (
    "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>user\\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ '<start_of_image>' }}"
    "{% else %}{{ 'Policy: ' + part['text'] + ' Is it violated?' }}{% endif %}{% endfor %}"
    "{{ '<end_of_turn>\\n<start_of_turn>model\\n' }}{% endfor %}"
)


def shieldgemma2(folder: Path) -> Path:
    """SigLIP tower and Gemma 3 text model; four picture tokens."""
    import torch
    from transformers import (
        Gemma3ImageProcessor,
        Gemma3TextConfig,
        ShieldGemma2Config,
        ShieldGemma2ForImageClassification,
        ShieldGemma2Processor,
        SiglipVisionConfig,
    )

    specials = ["<pad>", "<eos>", "<bos>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"]
    made = byte_tokenizer([*specials, "<start_of_turn>", "<end_of_turn>"], bos="<bos>", eos="<eos>", pad="<pad>")
    for name, token in (
        ("boi_token", "<start_of_image>"),
        ("eoi_token", "<end_of_image>"),
        ("image_token", "<image_soft_token>"),
    ):
        setattr(made, name, token)
        setattr(made, f"{name}_id", made.convert_tokens_to_ids(token))
    made._set_model_specific_special_tokens(
        special_tokens={
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        }
    )
    pictures = Gemma3ImageProcessor(size={"height": 32, "width": 32})
    processor = ShieldGemma2Processor(pictures, made, chat_template=SHIELD, image_seq_length=4)
    text = Gemma3TextConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        sliding_window=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    vision = SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        vision_use_head=False,
    )
    ids = {name: made.convert_tokens_to_ids(token) for name, token in (("yes", "Yes"), ("no", "No"))}
    torch.manual_seed(5)
    config = ShieldGemma2Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        boi_token_index=made.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=made.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=made.convert_tokens_to_ids("<image_soft_token>"),
        yes_token_index=ids["yes"],
        no_token_index=ids["no"],
    )
    model = ShieldGemma2ForImageClassification(config)
    with torch.no_grad():
        model.model.lm_head.weight.mul_(20)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


__all__ = ["adapter", "classifier", "llama_base", "roberta", "save", "shieldgemma2", "text_model", "tokenizer"]
