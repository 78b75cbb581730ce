"""A trained model (or adapter) as a folder to push: the files that load it, a card, and its record without paths."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config import PublishConfig
from engine.errors import UsageError
from engine.publishing import card
from engine.publishing.facts import md, public_name
from engine.publishing.licences import hub_word

RECORD = "training.json"
SCORES = "scores.json"
WEIGHTS = (".safetensors",)
KEPT_SUFFIXES = (*WEIGHTS, ".model", ".jinja")
KEPT_NAMES = (
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
    "loss.png",
)
"""What loads a model. Checkpoints, logs, optimiser states and pickles stay at home."""

NAMED = ("_name_or_path", "name_or_path", "base_model_name_or_path")
"""Keys by which libraries note where a model was loaded from."""

MOST = 60
"""Lines of scores on the card."""


def write_model(config: PublishConfig, folder: Path, repo: str, existing: str | None) -> list[str]:
    """Fill `folder` for the model in `config.adapter`; notes. UsageError: no model there, or nothing known of it."""
    source = Path(config.adapter or "")
    names = _files(source)
    record = _record(source)
    _check_weights(source, record)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        _copy(source / name, folder / name)
    (folder / RECORD).write_text(json.dumps(_without_paths(record), indent=1, ensure_ascii=False) + "\n", "utf-8")
    for name in names:
        if name.endswith("config.json"):
            _without_names(folder / name)
    adapter_config = folder / "adapter_config.json"
    scores = _scores(config.scores)
    if scores is not None:
        (folder / SCORES).write_text(json.dumps(_without_paths(scores), indent=1, ensure_ascii=False) + "\n", "utf-8")
    facts = _facts(record, scores, repo, adapter_config.is_file(), (folder / "loss.png").is_file())
    merged = card.merge(card.render("model", _data(facts, config), facts), existing)
    (folder / "README.md").write_text(merged.text, "utf-8")
    return merged.notes


def _files(source: Path) -> list[str]:
    if not source.is_dir():
        raise UsageError(f"--adapter {source}: no folder; expected what engine.train wrote")
    names = [path.name for path in sorted(source.iterdir()) if path.is_file()]
    is_model = {"adapter_config.json", "config.json"} & set(names)
    if not is_model or not any(name.endswith(WEIGHTS) for name in names):
        raise UsageError(
            f"--adapter {source}: neither an adapter (adapter_config.json) nor a model (config.json) with .safetensors "
            f"weights; found {', '.join(names[:8]) or 'nothing'}"
        )
    return [name for name in names if goes_up(name)]


def goes_up(name: str) -> bool:
    """Whether a file of a model's folder is published."""
    return name in KEPT_NAMES or name.endswith(KEPT_SUFFIXES)


def _record(source: Path) -> dict[str, Any]:
    path = source / RECORD
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{source}: no {RECORD}. Only finished trainings are published (engine.train writes it last)"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path}: damaged ({error})") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: expected an object")
    return found


def _check_weights(source: Path, record: Mapping[str, Any]) -> None:
    """UsageError where a weight file is not the one that the training left."""
    for file in record.get("files") or []:
        path = source / str(file["path"])
        if not path.is_file():
            raise UsageError(f"{path}: named by {RECORD}, but missing")
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != file["sha256"]:
            raise UsageError(f"{path}: sha256 is {found}, {RECORD} says {file['sha256']}: not the trained weights")


def _scores(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--scores {path}: cannot be read ({error})") from error
    if not isinstance(found, dict) or not isinstance(found.get("metrics"), list):
        raise UsageError(f"--scores {path}: no scores.json of engine.evaluate (no list `metrics`)")
    if found.get("scripted"):
        raise UsageError(f"--scores {path}: scores of a script, not of a model")
    return found


def _data(facts: Mapping[str, Any], config: PublishConfig) -> dict[str, Any]:
    """The YAML block. A base model or data set is named only where it is on the Hub."""
    base = facts["base_name"]
    data: dict[str, Any] = {
        "license": hub_word(config.licence),
        "library_name": "peft" if facts["adapter"] else "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["ecso-engine", "vlm-safety", "safety", "alignment", facts["method"]],
    }
    if "local folder" not in base and "/" in base:
        data["base_model"] = base
        data["base_model_relation"] = "adapter" if facts["adapter"] else "finetune"
    return data


def _facts(
    record: Mapping[str, Any], scores: Mapping[str, Any] | None, repo: str, adapter: bool, loss: bool
) -> dict[str, Any]:
    base, data = _part(record, "base"), _part(record, "data")
    recipe = {key: value for key, value in _part(record, "recipe").items() if not isinstance(value, dict | list)}
    return {
        "repo": repo,
        "name": repo.rpartition("/")[2],
        "adapter": adapter,
        "loss_picture": loss,
        "method": str(record.get("method") or "sft"),
        "base_name": public_name(str(base.get("name") or "not recorded")),
        "base": md(public_name(str(base.get("name") or "not recorded"))),
        "base_revision": md(base.get("revision") or "no revision"),
        "data_sha256": md(data.get("sha256") or "not recorded"),
        "data_counts": [(md(key), value) for key, value in _part(data, "counts").items()],
        "recipe": [(md(key), md(value)) for key, value in sorted(recipe.items()) if value is not None],
        "seed": md(record.get("seed", "not recorded")),
        "steps": md(record.get("steps", "not recorded")),
        "epochs": md(record.get("epochs", "not recorded")),
        "losses": [(md(key), md(_round(value))) for key, value in _part(record, "loss").items() if _is_number(value)],
        "versions": [(md(key), md(value)) for key, value in _part(record, "versions").items()],
        "engine": md(record.get("engine_version", "not recorded")),
        "scores": [_score(each) for each in (scores or {}).get("metrics", [])[:MOST] if isinstance(each, dict)],
        "more_scores": max(0, len((scores or {}).get("metrics", [])) - MOST),
    }


def _part(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = found.get(key)
    return part if isinstance(part, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _round(value: float) -> str:
    return f"{value:.4g}"


def _score(metric: Mapping[str, Any]) -> dict[str, str]:
    value, share = metric.get("value"), metric.get("unit") == "share"

    def shown(number: Any) -> str:
        if not _is_number(number):
            return "–"
        return f"{100 * number:.1f} %" if share else f"{number:.1f}"

    low, high = metric.get("low"), metric.get("high")
    interval = f" [{shown(low)}, {shown(high)}]" if _is_number(low) and _is_number(high) else ""
    keys = ("benchmark", "strategy", "part", "group", "name", "judge", "n")
    return {key: md(metric.get(key) if metric.get(key) is not None else "–") for key in keys} | {
        "value": shown(value) + interval
    }


def _without_paths(found: Any) -> Any:
    """The record with local paths cut to their last name: whose machine it was is nobody's business."""
    if isinstance(found, dict):
        return {key: _without_paths(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_without_paths(value) for value in found]
    if isinstance(found, str) and found.startswith(("/", "~", "file://")):
        return Path(found).name
    return found


def _without_names(path: Path) -> None:
    """Names of local folders in a configuration, cut to their last part; a file without any stays as it is."""
    document = json.loads(path.read_text("utf-8"))
    named = {key: document[key] for key in NAMED if isinstance(document.get(key), str)}
    cut = {key: _without_paths(value) for key, value in named.items()}
    if cut != named:
        path.unlink()
        path.write_text(json.dumps(document | cut, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _copy(source: Path, target: Path) -> None:
    """A hard link where the file system has them: weights are large, and are only read."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
