"""The fast check of rows says what jsonschema says."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.journal.convert import transcript_to_dict
from schemas import SchemaError, check, check_row, load
from tests.journal.make import transcript

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["ok", "harmful", "0" * 64, "0" * 64 + "\n", "A" * 64]),
    st.lists(st.text(max_size=2), max_size=18),
    st.lists(st.text(max_size=2), max_size=18).map(tuple),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)
COMPILED = {"type", "properties", "required", "additionalProperties", "items", "enum", "pattern", "$ref", "$defs"}
COMPILED |= {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}
SAYS_NOTHING = {"$schema", "title", "description", "x-arrow", "x-table"}


def says(judge: Any, name: str, document: object) -> str | None:
    try:
        judge(name, document, where="row")
    except SchemaError as error:
        return str(error)
    return None


def keywords(schema: dict[str, Any]) -> set[str]:
    """Of the schema and those inside it (not the names of its properties)."""
    found = set(schema)
    for holder in ("properties", "$defs"):
        for inner in schema.get(holder, {}).values():
            found |= keywords(inner)
    return found | (keywords(schema["items"]) if "items" in schema else set())


@pytest.mark.parametrize("name", ["query", "transcript"])
def test_every_keyword_of_a_row_is_one_that_the_compiler_knows(name: str) -> None:
    """One that it does not know (`prefixItems`, say) it passes over in silence."""
    assert keywords(load(name)) <= COMPILED | SAYS_NOTHING


@given(st.dictionaries(st.sampled_from([*load("query")["properties"], "stranger"]), VALUES))
def test_a_query_is_judged_alike(changes: dict[str, Any]) -> None:
    document = {"text": "what is this?", "pictures": ["a.png"], **changes}
    assert says(check_row, "query", document) == says(check, "query", document)


@given(st.dictionaries(st.sampled_from([*load("transcript")["properties"], "stranger"]), VALUES, max_size=3))
def test_a_transcript_is_judged_alike(changes: dict[str, Any]) -> None:
    document = {**GOOD, **changes}
    assert says(check_row, "transcript", document) == says(check, "transcript", document)


@given(st.sampled_from([*load("transcript")["$defs"]["step"]["properties"], "stranger"]), VALUES)
def test_a_step_is_judged_alike(field: str, value: object) -> None:
    document = deepcopy(GOOD)
    document["steps"][0][field] = value
    assert says(check_row, "transcript", document) == says(check, "transcript", document)


GOOD = transcript_to_dict(transcript())


def test_a_right_row_passes_both() -> None:
    assert says(check_row, "transcript", GOOD) is None
    assert says(check, "transcript", GOOD) is None
