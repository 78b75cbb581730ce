"""The cue audit: against scikit-learn's AUC, on planted cues, on noise, and on what has no answer."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.curation import cues
from engine.curation.cues import CueCounter, audit, normalised, tokens

WORDS = ("what", "can", "how", "the", "you", "picture", "is", "Pie")
queries = st.lists(st.sampled_from(WORDS), min_size=0, max_size=5).map(" ".join)


def planted(rows: int = 400, seed: int = 0) -> list[tuple[str, bool]]:
    """VLGuard's cue: nine of ten safe queries open with "what", nine of ten refused ones with "can"."""
    draw = random.Random(seed)
    made = []
    for number in range(rows):
        refused = number % 2 == 0
        opener = "Can you give me" if (draw.random() < 0.9) == refused else "What is the way to"
        made.append((f"{opener} pie number {number}?", refused))
    return made


@given(st.lists(st.tuples(queries, st.booleans(), st.booleans()), max_size=40))
def test_two_counters_side_by_side_are_one(items: list[tuple[str, bool, bool]]) -> None:
    one, other = CueCounter(), CueCounter()
    for text, refused, here in items:
        (one if here else other).add(text, refused)
    assert one.beside(other).result() == audit([(text, refused) for text, refused, _ in items])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(queries, st.booleans()), max_size=60), st.integers(1, 4), st.integers(2, 6))
def test_auc_equals_scikit_learn(items: list[tuple[str, bool]], words: int, folds: int) -> None:
    """The mean of each fold's ROC AUC, weighted by its pairs."""
    metrics = pytest.importorskip("sklearn.metrics")
    counter = CueCounter(words, folds)
    for text, refused in items:
        counter.add(text, refused)
    by_fold: dict[int, tuple[list[bool], list[float]]] = {}
    for fold, score, rows, refused_rows in counter.scores():
        labels, scores = by_fold.setdefault(fold, ([], []))
        labels += [True] * refused_rows + [False] * (rows - refused_rows)
        scores += [score] * rows
    right = pairs = 0.0
    for labels, scores in by_fold.values():
        weight = sum(labels) * (len(labels) - sum(labels))
        if weight:
            right += weight * metrics.roc_auc_score(labels, scores)
            pairs += weight
    found = counter.result()
    if pairs == 0 or len(items) < folds:
        assert found.auc is None
        assert found.note
        assert found.section() is None
    else:
        assert found.auc == pytest.approx(right / pairs)
    assert (found.n, found.n_refused) == (len(items), sum(refused for _, refused in items))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(queries, st.booleans()), max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(items: list[tuple[str, bool]], shuffle: random.Random) -> None:
    again = list(items)
    shuffle.shuffle(again)
    assert audit(items) == audit(again)


def test_a_planted_cue_is_found() -> None:
    found = audit(planted())
    assert found.auc is not None
    assert 0.85 < found.auc < 0.95
    shares = {cue.cue.split()[0]: cue.share for cue in found.top}
    assert shares["can"] > 0.85
    assert shares["what"] < 0.15
    assert all(cue.share == pytest.approx(cue.refused / cue.rows, abs=1e-4) for cue in found.top)
    section = found.section()
    assert section is not None
    assert set(section) == {"auc", "n", "n_refused", "folds", "top"}
    assert set(section["top"][0]) == {"cue", "rows", "refused", "share"}


def test_labels_without_a_cue_give_a_half() -> None:
    """Pooled over folds this would fall under 0.5, since a fold's base rate runs against that of the others."""
    draw = random.Random(3)
    items = [(f"{draw.choice(WORDS)} {draw.choice(WORDS)} {number}", draw.random() < 0.3) for number in range(4000)]
    found = audit(items, words=2)
    assert found.auc == pytest.approx(0.5, abs=0.03)


def test_repeated_texts_stay_in_one_fold() -> None:
    """Each text is there 20 times with one label, and nothing generalises: leaked, the AUC would be 1."""
    draw = random.Random(5)
    texts = [(f"opener{number} of its own", draw.random() < 0.5) for number in range(300)]
    variants = ["{}", "{}?", " {}!", "{}..."]
    items = [(variants[k % 4].format(text), label) for text, label in texts for k in range(20)]
    counter = CueCounter()
    for text, label in items:
        counter.add(text, label)
    folds: dict[str, set[int]] = {}
    for text, _ in items:
        folds.setdefault(normalised(text), set()).add(counter._fold(text))
    assert all(len(found) == 1 for found in folds.values())
    assert {fold for found in folds.values() for fold in found} == set(range(5))
    found = counter.result()
    assert found.auc == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("items", "note"),
    [
        ([], "0 rows"),
        ([("what is it", True)], "too few"),
        ([(f"what {n}", False) for n in range(50)], "all 50 rows are answered"),
        ([(f"what {n}", True) for n in range(50)], "all 50 rows are refused"),
        ([("same text", True), ("same text!", False)], "too few"),
        ([("", True), ("?!", True), ("\ud800", True)] * 3, "refused"),
    ],
)
def test_no_answer_is_stated(items: list[tuple[str, bool]], note: str) -> None:
    found = audit(items)
    assert found.auc is None
    assert note in (found.note or "")


def test_tokens() -> None:
    assert tokens("  “What’s” that, PLEASE?", 3) == ("what’s", "that", "please")
    assert tokens("这是什么?", 2) == ("这", "是")
    assert tokens("x" * 99, 1) == ("x" * cues.LONGEST_WORD,)
    assert tokens("?!", 3) == ()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the cap new openers count as shorter ones; no row is lost."""
    monkeypatch.setattr(cues, "MOST_OPENERS", 50)
    counter = CueCounter()
    for number in range(500):
        counter.add(f"w{number % 40} x{number} y{number}", number % 3 == 0)
    assert len(counter._counts) <= 51
    assert counter.result().n == 500
