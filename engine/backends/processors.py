"""What a model's folder or repository says: its processor, its class, its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.backends.base import BackendConfig
from engine.errors import UsageError


class TextProcessor:
    """A tokenizer in a processor's place, for models that read text only. Raises KeyError where a picture is shown."""

    image_processor = None

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def apply_chat_template(self, chat: Sequence[Mapping[str, Any]], **kwargs: Any) -> str:
        """Their templates take each turn's content as one text."""
        turns = [{**turn, "content": "".join(part["text"] for part in turn["content"])} for turn in chat]
        return str(self.tokenizer.apply_chat_template(turns, **kwargs))


def load_processor(
    model: str, revision: str | None, *, trust_remote_code: bool = False, text_only: bool = False
) -> Any:
    """The model's processor (tokenizer, picture preparation, chat template). `text_only`: its tokenizer alone.

    Raises UsageError where the folder or repository is none of a model, and where the model takes no pictures.
    """
    from transformers import AutoProcessor, AutoTokenizer

    found = class_of(model, revision, trust_remote_code=trust_remote_code)
    try:
        if text_only:
            return TextProcessor(
                AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
            )
        processor = AutoProcessor.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise UsageError(f"--model {model}: its processor does not load: {short(error)}") from error
    if getattr(processor, "tokenizer", None) is None or getattr(processor, "image_processor", None) is None:
        raise UsageError(f"--model {model}: {found} takes no pictures; choose a vision-language model (LLaVA, Qwen-VL)")
    return processor


def class_of(model: str, revision: str | None, *, trust_remote_code: bool = False) -> str:
    """The architecture that the model's config names. Raises UsageError where there is no readable config."""
    from transformers import AutoConfig

    if model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().is_dir():
        raise UsageError(f"--model {model}: no such folder; give a folder with config.json, or a Hub id ORG/NAME")
    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise UsageError(
            f"--model {model}: no readable model config: {short(error)}. "
            "Give a folder with config.json, or a Hub id that this machine can reach"
        ) from error
    return str((config.architectures or [type(config).__name__])[0])


def context_of(config: BackendConfig) -> int:
    """Positions of the model's language part; where its config names none, a number that limits nothing."""
    from transformers import AutoConfig

    found = AutoConfig.from_pretrained(
        config.model, revision=config.revision, trust_remote_code=config.trust_remote_code
    )
    return int(getattr(found.get_text_config(), "max_position_embeddings", 0) or 2**31)


def short(error: Exception) -> str:
    """An error in one line, at most 300 characters of its message."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0][:300] if str(error).strip() else ''}"
