"""Weight files and LoRA adapters, from folders and from the Hub, for models that are put together by hand.

Never runs pickled code: safetensors, or torch's reader of plain tensors. Downloads are transformers' own (its cache,
its token); a path below a repository is `ORG/NAME/folder/file`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import UsageError

ENDINGS = (".safetensors", ".bin", ".pt")
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
LAYERS = ("score", "classifier", "out_proj")
"""Names of classification layers in transformers' models."""


def with_adapter(model: Any, adapter: str) -> Any:
    """The model with the adapter merged into it."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UsageError(f"{adapter}: a LoRA adapter needs peft (pip install 'ecso-engine[train]')") from error
    return PeftModel.from_pretrained(model, adapter_folder(adapter)).merge_and_unload()


def adapter_folder(adapter: str) -> str:
    """The adapter's folder on this machine; from the Hub (`ORG/NAME[/folder]`) it is fetched. peft is given a folder
    always: it asks the network for what the cache holds, and for a repository's folder at a place twice as deep."""
    folder = Path(find_file(adapter, ADAPTERS)).parent
    find_file(adapter, ("adapter_config.json",))  # fetched into the same folder
    return str(folder)


def check_adapter(adapter: str) -> None:
    """UsageError where the adapter holds no classification layer: the base model's would be random numbers."""
    names = list(tensors(adapter, ADAPTERS))
    if not any(f".{layer}." in name for name in names for layer in LAYERS):
        raise UsageError(
            f"{adapter}: {len(names)} tensors and no classification layer among them (score or classifier); expected "
            "a LoRA adapter of a sequence classifier (task type SEQ_CLS)"
        )


def tensors(path: str, names: Sequence[str] = ("model.safetensors", "pytorch_model.bin")) -> dict[str, Any]:
    """The tensors of a weight file, or of the first of `names` in a folder or repository. Never runs pickled code."""
    import torch
    from safetensors.torch import load_file

    file = find_file(path, names)
    try:
        found = load_file(file) if file.endswith(".safetensors") else torch.load(file, "cpu", weights_only=True)
    except Exception as error:
        raise UsageError(f"{path}: found no readable weights ({first_line(error)})") from error
    return dict(found)


def find_file(path: str, names: Sequence[str]) -> str:
    """A file of this machine; from the Hub it is fetched. UsageError where there is none."""
    from transformers.utils import cached_file

    local = Path(path).expanduser()
    if local.is_file():
        return str(local)
    if local.is_dir():
        found = next((local / name for name in names if (local / name).is_file()), None)
        if found is None:
            raise UsageError(f"{path}: found none of {', '.join(names)} there")
        return str(found)
    repository, below = split_path(path)
    wanted = [below] if below.endswith(ENDINGS) else [f"{below}/{name}" if below else name for name in names]
    for name in wanted:
        try:
            fetched = cached_file(repository, name, _raise_exceptions_for_missing_entries=False)
        except OSError as error:
            raise UsageError(f"{path}: neither here nor on the Hub ({first_line(error)})") from error
        if fetched is not None:
            return str(fetched)
    raise UsageError(f"{path}: found none of {', '.join(wanted)} on the Hub")


def split_path(path: str) -> tuple[str, str]:
    """(what to load, the folder or file below it): a local path stays whole, a Hub path is cut after ORG/NAME."""
    if Path(path).expanduser().exists() or path.startswith(("/", ".", "~")):
        return str(Path(path).expanduser()), ""
    parts = path.split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])


def loading(what: str, load: Callable[[], Any]) -> Any:
    """`load()`, whatever it raises told as a UsageError."""
    try:
        return load()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"--model {what}: does not load: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300]}" if text else type(error).__name__
