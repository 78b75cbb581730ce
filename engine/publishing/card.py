"""The card (README.md): the engine's part between two markers, beside whatever people wrote themselves.

The body between the markers is replaced, and nothing outside it. Of the YAML block only what describes the files is
replaced (the configuration that the engine wrote, its features, the size); what people set stays; tags are united.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UsageError
from engine.publishing.hub import load_client

BEGIN = "<!-- ecso-engine:begin (rewritten by engine.publish; write outside of these two lines) -->"
END = "<!-- ecso-engine:end -->"
TEMPLATES = Path(__file__).parent / "templates"
OWN = ("configs", "dataset_info", "size_categories")
"""Keys that describe the files: stale ones break loading, so they are the engine's. Configurations go by their name."""

CONFIG = "default"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class Merged(NamedTuple):
    """The whole card, and what was noticed."""

    text: str
    notes: list[str]


def dataset_data(facts: Mapping[str, Any], licence: str, info: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML block of a data card. `info`: `dataset_info` as datasets writes it."""
    tags = ["ecso-engine", "synthetic", "safety", "alignment", "vlm-safety", "image-text-to-text"]
    if facts["table"] == "preference":
        tags += ["preference", "dpo", "not-for-all-audiences"]
    data = load_client().DatasetCardData(
        pretty_name=facts["name"],
        license=licence,
        tags=tags,
        task_categories=["visual-question-answering"],
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated"],
        size_categories=[size_category(facts["total"])],
        configs=[
            {
                "config_name": CONFIG,
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in facts["rows"]],
            }
        ],
        dataset_info=dict(info),
    )
    return dict(data.to_dict())


def render(template: str, data: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """A new card: the YAML block and the engine's part, from templates/<template>.md."""
    client = load_client()
    kinds = {"dataset": (client.DatasetCard, client.DatasetCardData), "model": (client.ModelCard, client.ModelCardData)}
    card, card_data = kinds[template]
    made = card.from_template(
        card_data(**data), template_path=str(TEMPLATES / f"{template}.md"), begin=BEGIN, end=END, **facts
    )
    return str(made).rstrip() + "\n"


def merge(new: str, existing: str | None) -> Merged:
    """The new card inside the existing one. UsageError: its markers or its YAML are damaged."""
    if existing is None or not existing.strip():
        return Merged(new, [])
    new_data, new_body = split(new, "the new card")
    old_data, old_body = split(existing, "the existing card")
    part = new_body[new_body.index(BEGIN) : new_body.index(END) + len(END)]
    data, notes = _merge_data(new_data, old_data)
    return Merged(f"---\n{_yaml(data)}---\n{_merge_body(part, old_body)}", notes)


def split(card: str, where: str) -> tuple[dict[str, Any], str]:
    """(YAML block, body). UsageError where the block is no YAML mapping."""
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    found = REGEX_YAML_BLOCK.search(card)
    if found is None:
        return {}, card
    try:
        data = yaml.safe_load(found.group(2)) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: its YAML block does not parse ({str(error)[:200]}); mend it on the Hub") from error
    if not isinstance(data, dict):
        raise UsageError(f"{where}: its YAML block is no mapping; mend it on the Hub")
    return data, card[found.end() :]


def _merge_body(part: str, old: str) -> str:
    begins, ends = old.count(BEGIN), old.count(END)
    if (begins, ends) == (0, 0):
        return f"{old.rstrip(os.linesep)}\n\n{part}\n" if old.strip() else f"\n{part}\n"
    start, stop = old.find(BEGIN), old.find(END)
    if (begins, ends) != (1, 1) or stop < start:
        raise UsageError(
            f"the existing card has {begins} lines {BEGIN!r} and {ends} lines {END!r}; expected one of each, in this "
            "order. Mend it on the Hub, and publish again"
        )
    return old[:start] + part + old[stop + len(END) :]


def _merge_data(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The block's keys in their old order, then the new ones; notes on what people had set differently."""
    made, notes = dict(old), []
    for key, value in new.items():
        if key == "tags":
            made[key] = list(dict.fromkeys([*_list(old.get(key)), *value]))
        elif key in ("configs", "dataset_info"):
            made[key] = _by_name(value, old.get(key))
        elif key in OWN or key not in old:
            made[key] = value
        elif key == "license" and old[key] != value:
            notes.append(f"the card on the Hub says license: {old[key]}, which was kept (this run would say {value})")
    if "dataset_info" not in new and isinstance(made.get("dataset_info"), dict):
        del made["dataset_info"]
    return made, notes


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [] if found is None else [found]


def _by_name(new: Any, old: Any) -> Any:
    """The engine's configuration, and those of other names that people added."""
    names = {each.get("config_name", CONFIG) for each in _list(new)}
    others = [each for each in _list(old) if isinstance(each, dict) and each.get("config_name", CONFIG) not in names]
    if not others:
        return new
    return [*_list(new if isinstance(new, list) else {"config_name": CONFIG, **new}), *others]


def _yaml(data: Mapping[str, Any]) -> str:
    from huggingface_hub.utils import yaml_dump

    return str(yaml_dump(dict(data), sort_keys=False))


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    return next((word for limit, word in SIZES if rows < limit), "1M<n<10M" if rows < 10_000_000 else "10M<n<100M")
