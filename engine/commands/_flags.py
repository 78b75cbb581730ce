"""Flags made from a section of `schemas/config.json`: the same keys, types, choices and words in both."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import schemas
from engine.errors import UsageError


def parser(section: str, description: str) -> argparse.ArgumentParser:
    """A parser with one flag a key of the section, and `--config FILE`. Flags not given are left out."""
    made = argparse.ArgumentParser(
        prog=f"python -m engine.{section}",
        description=description,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--config", metavar="FILE", default=None, help="YAML file with a section " + section)
    add_keys(made, section)
    return made


def add_keys(made: argparse.ArgumentParser, section: str, leave_out: Collection[str] = ()) -> None:
    """One flag a key of a section: for a command that takes another one's flags beside its own."""
    for key, rule in keys(section).items():
        if key not in leave_out:
            _add(made, key, rule)


def keys(section: str) -> dict[str, Any]:
    """The keys of a section and their rules."""
    return dict(schemas.load("config")["properties"][section]["properties"])


def _add(made: argparse.ArgumentParser, key: str, rule: dict[str, Any]) -> None:
    flag = "--" + key.replace("_", "-")
    default = rule.get("default")
    words = rule["description"].replace("%", "%%")
    if default not in (None, {}, False):
        words += f" (default: {default})"
    kinds = [kind for kind in ([rule["type"]] if isinstance(rule["type"], str) else rule["type"]) if kind != "null"]
    choices = [choice for choice in rule.get("enum", ()) if choice is not None] or None
    if kinds == ["boolean"] and key.startswith("no_"):
        # BooleanOptionalAction takes any flag that begins with --no- for a refusal: --no-curate would mean "curate".
        made.add_argument(flag, action="store_true", help=words)
    elif kinds == ["boolean"]:
        made.add_argument(flag, action=argparse.BooleanOptionalAction, help=words)
    elif "array" in kinds:
        made.add_argument(flag, action=_ListAction, help=words + " (several with commas, or repeated)", metavar="NAME")
    elif "object" in kinds:
        action = _JsonAction if key.endswith("chat_template_kwargs") else _PairsAction
        made.add_argument(flag, action=action, help=words, metavar="JSON" if action is _JsonAction else "K=V")
    else:
        made.add_argument(flag, type=_caster(kinds), choices=choices, help=words, metavar=_metavar(rule, key))


def _metavar(rule: dict[str, Any], key: str) -> str | None:
    return None if "enum" in rule else key.rsplit("_", 1)[-1].upper()


def _caster(kinds: Sequence[str]) -> Callable[[str], Any]:
    if "integer" in kinds:
        return int
    return float if "number" in kinds else str


TEXT_PAIRS = ("where", "columns", "secrets")
"""Flags whose values are texts; those of the others are read as YAML scalars."""
ONE_AT_A_TIME = ("engine_arg", "judge_engine_arg", "judge_option")
"""Flags whose values may hold commas."""


class _ListAction(argparse.Action):
    """Names, repeatable, several with commas."""

    def __call__(self, _parser: Any, namespace: Any, values: Any, _option: str | None = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest, []), *values.split(",")])


class _PairsAction(argparse.Action):
    """K=V, repeatable, several with commas (ONE_AT_A_TIME: one)."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        pairs = dict(getattr(namespace, self.dest, {}))
        typed = self.dest not in TEXT_PAIRS
        for part in [values] if self.dest in ONE_AT_A_TIME else values.split(","):
            key, sign, value = part.partition("=")
            if not sign or not key:
                parser.error(f"{option_string} {values}: expected K=V")
            pairs[key.strip()] = _scalar(value) if typed else value
        setattr(namespace, self.dest, pairs)


class _JsonAction(argparse.Action):
    """One JSON object."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        try:
            found = json.loads(values)
        except json.JSONDecodeError as error:
            parser.error(f"{option_string}: not JSON: {error}")
        setattr(namespace, self.dest, found)


def _scalar(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--engine-arg: {text!r} is no value: {error}") from error
