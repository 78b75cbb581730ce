"""Every one-token spelling of a label counts, and the probabilities add up."""

from __future__ import annotations

import math

import pytest

from engine.backends.labels import LabelIds, combine, logsumexp
from engine.errors import UsageError
from tests.backends.tiny_models import byte_tokenizer


@pytest.fixture(scope="module")
def labels() -> LabelIds:
    pytest.importorskip("transformers")
    return LabelIds(byte_tokenizer(["<pad>", "<s>", "</s>", "<image>"], bos="<s>", eos="</s>", pad="<pad>"))


def test_all_spellings_are_found(labels: LabelIds) -> None:
    ids = labels(("yes", "no"))
    spelled = {labels._tokenizer.decode([i]) for i in ids["yes"]}
    assert spelled == {"yes", "Yes", " yes", " Yes"}
    assert not set(ids["yes"]) & set(ids["no"])


def test_a_label_that_is_no_token_is_refused_at_use(labels: LabelIds) -> None:
    with pytest.raises(UsageError, match="'unthinkable'"):
        labels(("yes", "unthinkable"))


def test_special_tokens_are_no_spelling(labels: LabelIds) -> None:
    with pytest.raises(UsageError):
        labels(("<image>",))


def test_probabilities_of_spellings_are_summed() -> None:
    combined = combine({"yes": (1, 2), "no": (3,)}, {1: math.log(0.25), 2: math.log(0.5), 9: 0.0})
    assert combined["yes"] == pytest.approx(math.log(0.75))
    assert combined["no"] == -math.inf


def test_logsumexp_never_exceeds_certainty() -> None:
    assert logsumexp([math.log(0.6), math.log(0.6)]) == 0.0
    assert logsumexp([]) == -math.inf
    assert logsumexp([-1000.0, -1000.0]) == pytest.approx(-1000 + math.log(2))
