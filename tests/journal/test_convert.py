"""Dataclass, JSON Schema and Arrow say the same; rows survive the way there and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RowError
from engine.journal.convert import (
    check_transcript,
    picture_row,
    transcript_from_dict,
    transcript_to_dict,
    transcript_to_json,
    transcripts_table,
)
from engine.parquet import rows_to_table
from engine.types import Step, Transcript
from schemas import arrow_schema, check, load
from tests.journal.make import picture, step, transcript


def test_transcript_is_schema_is_arrow() -> None:
    names = [item.name for item in fields(Transcript)]
    assert list(load("transcript")["properties"]) == names
    assert load("transcript")["required"] == names
    assert arrow_schema("transcript").names == names


def test_step_is_schema_is_arrow() -> None:
    names = [item.name for item in fields(Step)]
    definition = load("transcript")["$defs"]["step"]
    assert list(definition["properties"]) == names
    assert definition["required"] == names
    assert [item.name for item in arrow_schema("transcript").field("steps").type.value_type] == names


def test_a_picture_row_is_schema_is_arrow() -> None:
    row = picture_row(picture("one"))
    assert list(row) == list(load("picture")["properties"]) == arrow_schema("picture").names
    assert rows_to_table([row], "picture").to_pylist() == [row]


def test_a_transcript_comes_back_from_the_sealed_table() -> None:
    original = transcript("q", steps=3, pictures=[picture("one")])
    row = transcripts_table([transcript_to_json(original)]).to_pylist()[0]
    assert transcript_from_dict(row) == original
    check("transcript", row)


def test_the_fast_way_to_arrow_equals_the_slow_one() -> None:
    lines = [transcript_to_json(transcript(number, steps=number)) for number in range(6)]
    slow = rows_to_table([json.loads(line) for line in lines], "transcript")
    fast = transcripts_table(lines)
    assert fast.equals(slow)
    assert fast.schema.equals(slow.schema, check_metadata=True)


@given(st.text(max_size=60), st.floats(0, 1), st.integers(-(2**63), 2**63 - 1))
def test_any_text_survives(text: str, probability: float, seed: int) -> None:
    original = transcript(query=text, p_harmful=probability, steps=0)
    original = replace(original, steps=(step(text=text, seed=seed),))
    row = transcripts_table([transcript_to_json(original)]).to_pylist()[0]
    assert transcript_from_dict(row) == original


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    line = transcript_to_json(transcript(query="broken \ud800 text"))
    assert transcripts_table([line])["query"].to_pylist() == ["broken \ufffd\ufffd\ufffd text"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attempts": "3"}, "attempts: found str '3', expected int"),
        ({"eyes_closed": 1}, "eyes_closed: found int '1', expected bool"),
        ({"query": None}, "query: found NoneType"),
        ({"p_harmful": float("nan")}, "p_harmful: found nan, expected a finite number"),
        ({"seconds": float("inf")}, "seconds: found inf, expected a finite number"),
    ],
)
def test_a_row_of_a_wrong_type_never_reaches_the_journal(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RowError, match=message):
        transcript_to_json(transcript(**changes))


def test_a_step_of_a_wrong_type_never_reaches_the_journal() -> None:
    with pytest.raises(RowError, match="max_tokens"):
        transcript_to_json(replace(transcript(), steps=(step(max_tokens=1.5),)))
    with pytest.raises(RowError, match="64-bit"):
        transcript_to_json(replace(transcript(), steps=(step(seed=2**63),)))


def test_check_transcript_names_the_field() -> None:
    check_transcript(transcript())
    with pytest.raises(RowError, match="final_verdict"):
        check_transcript(transcript(final_verdict="maybe"))


def test_transcript_to_dict_keeps_the_order_of_the_schema() -> None:
    assert list(transcript_to_dict(transcript())) == list(load("transcript")["properties"])
