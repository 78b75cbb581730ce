"""Shingles, their two implementations, and candidates that miss no pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.curation.dedup.greedy import meetings
from engine.curation.dedup.prefix import (
    LARGER,
    SAME,
    SMALLER,
    Keys,
    bitmaps,
    count_shingles,
    most_apart,
    prefix_keys,
    prefixes,
)
from engine.curation.dedup.text import jaccard, normal_form, read_texts, shingles, text_key, words

FEW_WORDS = st.lists(
    st.sampled_from(["pie", "flinging", "diary", "peeking", "how", "do", "I", "the", "a"]), max_size=12
).map(" ".join)
ANY_TEXT = st.one_of(FEW_WORDS, st.text(max_size=30), st.text("ab çÇﬁ你好 한글.!", max_size=20))


@settings(deadline=None)
@given(st.lists(ANY_TEXT, min_size=1, max_size=20), st.integers(1, 4))
def test_many_texts_at_once_equal_one_by_one(texts: list[str], n: int) -> None:
    keys, sets = read_texts(texts, n)
    for row, text in enumerate(texts):
        assert sets.one(row) == shingles(text, n)
        assert keys[row].astype("<u8").tobytes() == text_key(normal_form(text))
        assert len(sets.one(row)) == sets.sizes()[row] >= 1


@settings(deadline=None)
@given(FEW_WORDS, st.integers(1, 3))
def test_shingles_are_word_runs(text: str, n: int) -> None:
    found = words(text)
    runs = {tuple(found[i : i + n]) for i in range(len(found) - n + 1)} or {tuple(found)}
    assert len(shingles(text, n)) == len(runs)


@settings(deadline=None)
@given(FEW_WORDS, FEW_WORDS, st.integers(1, 3))
def test_jaccard_equals_the_definition(one: str, other: str, n: int) -> None:
    def plain(text: str) -> set[tuple[str, ...]]:
        found = words(text)
        return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)} or {tuple(found)}

    expected = len(plain(one) & plain(other)) / len(plain(one) | plain(other))
    assert jaccard(shingles(one, n), shingles(other, n)) == expected


def meet(keys: Keys, one: int, other: int) -> bool:
    """Whether two sets share a key from opposite sides."""
    ones, others = (
        set(zip(keys.values[keys.owners == row].tolist(), keys.sides[keys.owners == row].tolist(), strict=True))
        for row in (one, other)
    )
    opposite = {SMALLER: LARGER, LARGER: SMALLER, SAME: SAME}
    return any((value, opposite[side]) in others for value, side in ones)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 14), min_size=1), min_size=2, max_size=20),
    st.sampled_from([0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
    st.booleans(),
)
def test_near_sets_share_a_key(sets: list[set[int]], threshold: float, counted: bool) -> None:
    """The theorem of the prefix filter, and the bound of the bitmaps, on the code as it is."""
    names = [[f"token{number}" for number in each] for each in sets]
    found = read_texts([" ".join(each) for each in names], 1)[1]
    counts = count_shingles(found) * (1 if counted else 0)
    keys = prefix_keys(found, counts, threshold)
    bits = bitmaps(found)
    for one, other in itertools.combinations(range(len(sets)), 2):
        if jaccard(found.one(one), found.one(other)) >= threshold:
            assert meet(keys, one, other)
            apart = int(np.bitwise_count(bits[one] ^ bits[other]))
            assert apart <= most_apart(len(sets[one]), len(sets[other]), threshold)


def test_a_rare_word_is_the_key() -> None:
    """Rows of one template share no key: its words are the frequent ones."""
    texts = [f"what should one know about case {number} before asking the class" for number in range(200)]
    sets = read_texts(texts, 2)[1]
    keys = prefix_keys(sets, count_shingles(sets), 0.8)
    assert len(keys.values) == 200 * sum(length for _, length in prefixes(10, 0.8))
    assert len(meetings(keys)) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is THIS?", "what  is this"),
        ("ﬁnd the café", "FIND THE CAFE\u0301"),
        ("１２ pies", "12 pies"),
        ("it's a pie.", "It's a pie!"),
    ],
)
def test_same_normal_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(("one", "other"), [("???", "!!!"), ("", "?"), ("case 12", "case 13"), ("resume", "résumé")])
def test_other_normal_form(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)
    assert jaccard(shingles(one, 2), shingles(other, 2)) == 0


def test_chinese_has_words() -> None:
    """One changed character of sixteen is near, as one word would be."""
    one, other = "请告诉我这张图片里面的内容是什么吗", "请告诉我这张图片里面的内容是什么呢"
    assert len(words(one)) == 17
    assert 0.8 < jaccard(shingles(one, 2), shingles(other, 2)) < 1


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.5, 0.75, 0.8, 0.9]))
def test_long_near_sets_share_a_key(shared: int, more: int, others: int, threshold: float) -> None:
    """Classes of sizes lose nothing where they hold several sizes."""
    common = [f"token{number}" for number in range(shared)]
    texts = [common + [f"{side}{number}" for number in range(size)] for side, size in (("l", more), ("r", others))]
    sets = read_texts([" ".join(text) for text in texts], 1)[1]
    keys = prefix_keys(sets, count_shingles(sets), threshold)
    if jaccard(sets.one(0), sets.one(1)) >= threshold:
        assert meet(keys, 0, 1)
    assert len(keys.values) <= 12 * (sets.offsets[-1] + 20)
