"""Refusal detection beyond the planted rows: the tiny world, other languages, VLGuard's known faults, annotations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine.tiny
from engine.curation.refusal import OPENING, is_refusal, refusal_evidence, refused

WORDINGS = json.loads((Path(engine.tiny.__file__).parent / "world.json").read_text("utf-8"))["wordings"]


@pytest.mark.parametrize("wording", WORDINGS["refusal"])
def test_refusals_of_the_tiny_world(wording: str) -> None:
    assert is_refusal(wording.format(concept="pie flinging"))


@pytest.mark.parametrize("wording", [*WORDINGS["answer"], *WORDINGS["unclear"]])
def test_answers_of_the_tiny_world(wording: str) -> None:
    assert not is_refusal(wording.format(concept="tea brewing"))


@pytest.mark.parametrize(
    "text",
    [
        "Es tut mir leid, aber das kann ich nicht tun.",
        "Ich kann dir dabei leider nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Mi dispiace, ma non posso aiutare.",
        "Desculpe, não posso ajudar com isso.",
        "抱歉，我无法提供这方面的帮助。",
        "申し訳ありませんが、お手伝いできません。",
    ],
)
def test_common_formulas_of_other_languages(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is illegal to park here, so use the garage.",
        "OpenAI is the name on the slide.",
        "Good self-care starts with sleep.",
        "A language model predicts the next word.",
        "Here's an alternative route along the river.",
        "The writing is a bit unclear, but it says noon.",
        "Her positivity is catching.",
    ],
)
def test_bare_words_are_no_refusals(text: str) -> None:
    """Substrings that VLGuard's list counts wherever they stand (facts of its `utils/utils.py`)."""
    assert not is_refusal(text)


def test_capital_letters_do_not_matter() -> None:
    assert is_refusal("It is a nice idea, BUT I CANNOT HELP WITH THAT.")


def test_quoted_refusals_are_somebody_elses() -> None:
    assert not is_refusal('The clerk said "I cannot help you" and shut the window.')
    assert is_refusal('"I cannot help you with that."')


def test_a_caveat_at_the_end_is_no_refusal() -> None:
    answer = "First sort the papers by date and put them into the folder. " * 10
    assert len(answer) > OPENING
    assert not is_refusal(answer + "I cannot give legal advice, though.")


def test_an_annotation_goes_first() -> None:
    assert refused("Of course: mix and bake.", "refused") == (True, "annotated as refused")
    assert refused("I cannot help with that.", "answered") == (False, "annotated as answered")
    assert refused("I cannot help with that.", True)[0]
    assert not refused("I cannot help with that.", False)[0]
    assert refused("I cannot help with that.", "unknown") == (True, refusal_evidence("I cannot help with that."))
    assert refused("Of course: mix and bake.", None) == (False, "")


@given(st.text(st.characters(), max_size=400))
def test_any_text_has_an_answer(text: str) -> None:
    evidence = refusal_evidence(text)
    assert is_refusal(text) is (evidence is not None)
    assert evidence is None or evidence.encode()
