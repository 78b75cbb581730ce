"""The readers of replies, with any text: they never raise, never invent, and find what is plainly there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.benchmarks.mmbench import option
from engine.evaluation.benchmarks.mme import parse
from engine.judges.verdicts import share
from engine.strategies.repo import QUIRKS, is_unsafe

OPTIONS = {"A": "red sock", "B": "blue sock", "C": "green sock", "D": "white sock"}
SPACE = st.text(" \n\t", max_size=3)


class TestYesNo:
    @given(st.text())
    def test_one_of_three_words(self, text: str) -> None:
        assert parse(text) in ("yes", "no", "other")

    @given(SPACE, st.sampled_from(["yes", "Yes", "YES", "no", "No", "NO"]), st.sampled_from(["", ".", ",", "!"]), SPACE)
    def test_a_plain_word(self, before: str, word: str, mark: str, after: str) -> None:
        assert parse(before + word + mark + after) == word.lower()

    @given(st.text("abcdfghijklmpqrtuvwxz ", min_size=4), st.text())
    def test_only_the_first_four_characters_count(self, start: str, rest: str) -> None:
        assert parse("x" + start[1:4].replace(" ", "x") + rest) == "other"

    @pytest.mark.parametrize(
        ("text", "word"), [("Not sure", "no"), ("Know it", "no"), ("Yesterday", "yes"), ("y", "other"), ("", "other")]
    )
    def test_quirks_of_the_rule_are_kept(self, text: str, word: str) -> None:
        """MME's calculation.py looks for the letters, not for the word."""
        assert parse(text) == word


class TestOption:
    @given(st.text())
    def test_a_known_letter_or_none(self, text: str) -> None:
        assert option(text, OPTIONS) in (*OPTIONS, None)

    @given(st.sampled_from("ABCD"), st.sampled_from(["{}", "({})", "{}.", "Answer: {}", "**{}**", "{}) yes", "'{}'"]))
    def test_a_plain_letter(self, letter: str, form: str) -> None:
        assert option(form.format(letter), OPTIONS) == letter

    @pytest.mark.parametrize("letter", "ABCD")
    @pytest.mark.parametrize(
        "form",
        [
            "The answer is {}",
            "The correct option is {}",
            "I think it is option {}",
            "The answer is {}.",
            "The right choice is **{}**, I think",
            "My answer would be {}",
            "The correct answer is ({}) here",
        ],
    )
    def test_every_letter_alike_in_a_sentence(self, letter: str, form: str) -> None:
        assert option(form.format(letter), OPTIONS) == letter

    @given(st.sampled_from("ABCD"), st.sampled_from(["{}. {}", "({}) {}", "The answer is {}: {}"]))
    def test_a_letter_with_its_text(self, letter: str, form: str) -> None:
        assert option(form.format(letter, OPTIONS[letter]), OPTIONS) == letter

    @given(st.sampled_from("ABCD"), st.text(" xyz,", max_size=9), st.text(" xyz.", max_size=9))
    def test_the_text_alone(self, letter: str, before: str, after: str) -> None:
        assert option(before + OPTIONS[letter].upper() + after, OPTIONS) == letter

    @given(st.permutations("ABCD"))
    def test_two_letters_choose_nothing(self, letters: list[str]) -> None:
        assert option(f"{letters[0]} or {letters[1]}", OPTIONS) is None

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("A sock hangs on the line", None),
            ("A man holds a blue sock", "B"),
            ("I see A, which is right", "A"),
            ("There is a lot. A Sock is there", None),
            ("I have no answer. A man holds this", None),
            ("An answer: perhaps. A man holds this", None),
            ("a", None),
            ("E", None),
            ("red sock or blue sock", None),
        ],
    )
    def test_articles_and_doubt(self, text: str, found: str | None) -> None:
        assert option(text, OPTIONS) == found


class TestScore:
    @given(st.text())
    def test_a_share_or_none(self, text: str) -> None:
        found = share(text)
        assert found is None or 0 <= found <= 1

    @given(st.integers(0, 10), SPACE, st.sampled_from(["", " |", "\n", " because"]))
    def test_a_plain_score(self, tenths: int, before: str, after: str) -> None:
        assert share(f"{before}{tenths / 10:.1f}{after}") == tenths / 10

    @given(st.floats(1.01, 1e6))
    def test_more_than_one_is_no_score(self, number: float) -> None:
        assert share(f"{number:.2f}") is None


@given(st.text(), st.sampled_from([*QUIRKS, "elsewhere"]))
def test_the_scripts_reading_of_the_judge(text: str, source: str) -> None:
    said = text.strip().removesuffix("</s>").strip()
    assert is_unsafe(text, source) == (
        said in ("yes", "yes.", "Yes", "Yes.")
        or (source not in ("mme", "mmvet", "mmbench") and said.lower() in ("yes", "yes."))
    )
