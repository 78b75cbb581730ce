"""Tags in a text stay text: no loader may count them as a picture, a turn's end or a file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.backends.wire import JOINER, SPECIAL
from engine.export.base import TRAINERS_OWN, Dialogue, Turn, neutral

TAGS = ["<image>", "<IMAGE>", "</s>", "<s>", "<video>", "<audio>", "<|im_end|>", "<bbox>", "<ref-object>", "<img>"]
TAGS += ["</img>", "{{image}}", "{{QUERY}}", "{{ROUND1}}", "<im_start>", "<start-image>", "[INST]"]
PIECES = st.one_of(
    st.sampled_from([*TAGS, "<", ">", "{", "}", "|", "/", "a < b", "{{name}}", "<b>"]), st.text(max_size=8)
)


@given(st.lists(PIECES, max_size=12))
def test_no_tag_survives_and_nothing_else_changes(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = neutral(text)
    assert SPECIAL.search(found) is None
    assert TRAINERS_OWN.search(found) is None
    assert found.replace(JOINER, "") == text.replace(JOINER, "")
    assert neutral(found) == found


@given(st.text(alphabet=st.characters(exclude_characters="<>{}[]")))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert neutral(text) == text


def test_each_tag_is_broken() -> None:
    for tag in TAGS:
        assert neutral(f"a {tag} b") == f"a {tag[0]}{JOINER}{tag[1:]} b"


def test_a_dialogue_is_neutral_in_every_text() -> None:
    row = Dialogue("1", "s", (), (Turn("user", "<image>"), Turn("assistant", "</s>")), rejected="{{image}}").safe_text()
    assert all(JOINER in text for text in (row.turns[0].text, row.turns[1].text, row.rejected or ""))
