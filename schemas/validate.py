"""Load and check the JSON Schema files. Errors name the field, what was found and what was expected."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

SHOWN = 120
"""Characters of a bad value that an error message quotes."""


class SchemaError(ValueError):
    """A document does not match its schema; the message names every bad field (at most ten)."""


@cache
def load(name: str) -> dict[str, Any]:
    """The JSON Schema `schemas/<name>.json` as a dict. Raises FileNotFoundError for an unknown name."""
    document: dict[str, Any] = json.loads(files("schemas").joinpath(f"{name}.json").read_text("utf-8"))
    return document


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    # Rows in flight are frozen, so their arrays are tuples.
    arrays = Draft202012Validator.TYPE_CHECKER.redefine("array", lambda _, found: isinstance(found, list | tuple))
    validator: Draft202012Validator = extend(Draft202012Validator, type_checker=arrays)(load(name))  # type: ignore[no-untyped-call]
    return validator


def check(name: str, document: object, *, where: str = "") -> None:
    """Raise SchemaError unless `document` matches `schemas/<name>.json`. `where` (a file, a row) leads the message."""
    errors = sorted(_validator(name).iter_errors(document), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        lines = [_line(error) for error in errors[:10]]
        if len(errors) > 10:
            lines.append(f"… and {len(errors) - 10} more")
        raise SchemaError(f"{where or name}: " + "; ".join(lines))


@cache
def _compiled(name: str) -> Callable[[object], object]:
    import fastjsonschema

    plain = {"use_default": False, "use_formats": False, "detailed_exceptions": False}
    compiled: Callable[[object], object] = fastjsonschema.compile(load(name), **plain)
    return compiled


def check_row(name: str, document: object, *, where: str = "") -> None:
    """As `check`, for what is checked by the hundred thousand: the schema, compiled, passes a right row in a thirtieth
    of the time. What it refuses, `check` explains, and that has the last word."""
    from fastjsonschema import JsonSchemaValueException

    try:
        _compiled(name)(document)
    except JsonSchemaValueException:
        check(name, document, where=where)


def _line(error: ValidationError) -> str:
    field = ".".join(map(str, error.absolute_path)) or "(whole document)"
    if error.validator == "additionalProperties":
        rules: Any = error.schema
        known = ", ".join(sorted(rules.get("properties", {})))
        return f"{field}: {error.message}; known keys: {known}"
    if error.validator == "required":
        return f"{field}: {error.message}"
    found = json.dumps(error.instance, default=str)
    found = found if len(found) <= SHOWN else found[:SHOWN] + "…"
    return f"{field}: found {found}, expected {_expected(error)}"


def _expected(error: ValidationError) -> str:
    if error.validator == "enum":
        choices: Any = error.validator_value
        return "one of " + ", ".join(json.dumps(value) for value in choices)
    return f"{error.validator} {json.dumps(error.validator_value)}"
