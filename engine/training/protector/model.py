"""The model to train: a text model with one logit (detector) or as it is (detoxifier), and its LoRA."""

from __future__ import annotations

from typing import Any

from engine.backends.processors import TextProcessor
from engine.backends.prompting import Prompter
from engine.backends.templates import RAW
from engine.backends.weights import first_line
from engine.errors import UsageError
from engine.training.presets import Recipe

KINDS = {"harm-detector": "SEQ_CLS", "detoxifier": "CAUSAL_LM"}
"""Task -> PEFT's task type. SEQ_CLS keeps the classification layer in the adapter."""
BASES = {"harm-detector": "openlm-research/open_llama_3b_v2", "detoxifier": "lmsys/vicuna-7b-v1.5"}
"""What the released models were trained on."""


def prompter_of(model: str, revision: str | None, *, trust_remote_code: bool) -> Prompter:
    """Tokenizer without a chat template; padded with the end token where it has no padding (as published)."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise UsageError(f"--model {model}: its tokenizer does not load: {first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise UsageError(f"--model {model}: its tokenizer has no end token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Prompter(TextProcessor(tokenizer), {"chat_template": RAW})


def load(task: str, model: str, revision: str | None, *, trust_remote_code: bool, dtype: str, pad: int) -> Any:
    """Weights on the CPU. A detector's classification layer is new. UsageError where they do not load."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    given = {"revision": revision, "trust_remote_code": trust_remote_code, "dtype": getattr(torch, dtype)}
    try:
        if task == "harm-detector":
            found = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, **given)
            found.config.pad_token_id = pad
        else:
            found = AutoModelForCausalLM.from_pretrained(model, **given)
    except Exception as error:
        raise UsageError(f"--model {model}: does not load as a text model: {first_line(error)}") from error
    return found


def with_lora(model: Any, task: str, recipe: Recipe, base: str, revision: str | None) -> Any:
    """The model with LoRA on the layers that PEFT chooses for its architecture (the published scripts name none)."""
    from peft import LoraConfig, get_peft_model

    def made(**more: Any) -> Any:
        return LoraConfig(
            r=recipe.lora_r,
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            task_type=KINDS[task],
            base_model_name_or_path=base,
            revision=revision,
            **more,
        )

    if recipe.gradient_checkpointing:
        model.enable_input_require_grads()
    try:
        return get_peft_model(model, made())
    except ValueError:  # an architecture that PEFT has no choice for
        return get_peft_model(model, made(target_modules="all-linear"))
