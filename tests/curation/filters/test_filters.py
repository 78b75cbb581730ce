"""Every filter on planted rows, on arbitrary text, and through the registry.  Run: `pytest tests/curation/filters`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.curation import filters
from engine.curation.annotations import Annotation
from engine.curation.filters.base import Drop, Filter, Row
from engine.curation.filters.pii import luhn
from engine.curation.filters.text import plain, snippet
from engine.errors import UsageError
from engine.judges.base import FIELDS
from tests.curation.filters.planted_rows import HALVES, NAMES, cases, healthy, picture, there
from tests.curation.filters.score import score

BAR = 0.95
BELOW = {("unrelated", "first"): (BAR, 0.9), ("unrelated", "third"): (0.94, 0.9)}
"""(precision, recall) that miss the bar, and are said to in docs/filters.md: they may not fall further."""
ROOT = Path(filters.__file__).parent
DOCS = ROOT.parents[2] / "docs"


def made(name: str, **options: Any) -> Filter:
    return filters.make(name, options | ({"pictures": picture} if name == "picture_quality" else {}))


@pytest.mark.parametrize(("name", "half"), [(name, half) for name in NAMES for half in HALVES if there(half, name)])
def test_precision_and_recall_on_planted_rows(name: str, half: str) -> None:
    found = score(half, name)
    precision, recall = BELOW.get((name, half), (BAR, BAR))
    assert min(found.defects, found.healthy) >= 10
    assert found.precision >= precision
    assert found.recall >= recall


@pytest.mark.parametrize(
    "name", sorted(set(NAMES) - {"verdict", "length", "truncated", "picture_quality", "placeholder_query"})
)
def test_halves_share_no_wording(name: str) -> None:
    held = {(row["query"], row["final_response"]) for row, _ in cases("heldout", name)}
    for half in HALVES[:-1]:
        if there(half, name):
            assert not held & {(row["query"], row["final_response"]) for row, _ in cases(half, name)}


def test_a_healthy_row_passes_all() -> None:
    run = [(name, made(name)) for name in filters.DEFAULT]
    assert filters.first_drop(run, healthy()) is None


def test_every_reason_is_given() -> None:
    """The planted rows make each filter give each of its reasons, with evidence that can be written as UTF-8."""
    reasons: dict[str, set[str]] = {}
    for name in filters.FILTERS:
        run = made(name)
        drops = [run(row) for half in HALVES if there(half, name) for row, _ in cases(half, name)]
        reasons[name] = {drop.reason for drop in drops if drop}
        assert all(drop.evidence.encode() for drop in drops if drop), name
    assert reasons["verdict"] == {"error", "unresolved", "verdict"}
    assert reasons["length"] >= {"empty", "too_short"}
    assert reasons["picture_quality"] == {"picture_tiny", "picture_blank", "picture_unreadable"}
    assert all(
        reasons[name] == {name} for name in filters.FILTERS if name not in {"verdict", "length", "picture_quality"}
    )


def test_too_long() -> None:
    row = healthy() | {"final_response": "word " * 40}
    drop = filters.make("length", {"max_chars": 100})(row)
    assert drop == Drop("too_long", "200 characters, at most 100")
    assert filters.make("length")(row) is None


def test_over_refusal_follows_the_annotation() -> None:
    refusal = healthy() | {"label_safe": True, "final_response": "I'm sorry, but I can't help with that."}
    answer = healthy() | {"label_safe": True}
    run = filters.make("over_refusal")
    assert run(refusal) is not None
    assert run(refusal | {"annotations": {"refusal": "answered"}}) is None
    assert run(answer) is None
    found = run(answer | {"annotations": {"refusal": "refused"}})
    assert found == Drop("over_refusal", "annotated as refused")
    assert run(refusal | {"annotations": {"refusal": "unknown"}}) is not None
    assert run(refusal | {"annotations": {"refusal_llm": "answered", "refusal": "refused"}}) is None
    notes = {name: {"refusal": Annotation("refusal", "1", name, "answered", None)} for name in FIELDS}
    assert run(refusal | {"annotations": notes["final_response"]}) is None
    assert run(refusal | {"annotations": notes["direct_response"]}) is not None  # says nothing of the final answer
    assert run(refusal | {"label_safe": None}) is None
    assert (
        filters.make("over_refusal", {"judge": "guard"})(refusal | {"annotations": {"refusal": "answered"}}) is not None
    )


def test_pii_evidence_is_masked() -> None:
    row = healthy() | {"final_response": "Write to mirela.quill@plumkettle-orchard.net today."}
    drop = filters.make("pii")(row)
    assert drop is not None
    assert drop.evidence == "mail in the answer: mi••••.•••••@••••••••••-•••••••.•••"
    assert filters.make("pii", {"in_query": False})(healthy() | {"query": row["final_response"]}) is None


def test_regions_of_phone_numbers() -> None:
    row = healthy() | {"final_response": "Call 020 7946 0321 after six."}
    assert filters.make("pii")(row) is None
    assert filters.make("pii", {"regions": ["GB"]})(row) is not None


@given(st.integers(0, 10**18))
def test_luhn_finds_every_changed_digit(number: int) -> None:
    digits = str(number)
    whole = next(digits + str(check) for check in range(10) if luhn(digits + str(check)))
    for at, digit in enumerate(whole):
        changed = whole[:at] + str((int(digit) + 1) % 10) + whole[at + 1 :]
        assert not luhn(changed)


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="did you mean blindness"):
        filters.make("blindnes")
    with pytest.raises(UsageError, match="did you mean min_words"):
        filters.make("length", {"min_word": 2})
    with pytest.raises(UsageError, match="expected int, found '2'"):
        filters.make("length", {"min_words": "2"})
    with pytest.raises(UsageError, match="expected int, found True"):
        filters.make("length", {"min_words": True})
    with pytest.raises(UsageError, match="expected a list of texts"):
        filters.make("pii", {"regions": "US"})
    with pytest.raises(UsageError, match="needs the pictures"):
        filters.make("picture_quality")
    with pytest.raises(UsageError, match="expected a function"):
        filters.make("picture_quality", {"pictures": 3})
    with pytest.raises(UsageError, match="known: none"):
        filters.make("hint_leak", {"lenient": True})
    assert filters.make("caption_copy", {"share": 1})(healthy()) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("length", {"max_chars": 0}),
        ("caption_copy", {"share": 0.0}),
        ("echo", {"overlap": 2}),
        ("language", {"confidence": 1.5}),
        ("repetition", {"times": 1}),
        ("verdict", {"keep": ["harmful"]}),
        ("pii", {"regions": ["XX"]}),
        ("unrelated", {"min_words": 1}),
        ("picture_quality", {"min_side": 0}),
    ],
)
def test_senseless_values_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        made(name, **options)


def test_registry_is_the_folder() -> None:
    """One file a filter, each short, each saying what it covers, what not, and why its default."""
    shared = {"__init__", "base", "text", "languages", "makers", "seeing"}
    files = {path.stem: path for path in ROOT.glob("*.py") if path.stem not in shared}
    assert set(files) == set(filters.FILTERS)
    for name, path in files.items():
        text = path.read_text("utf-8")
        assert text.count("\n") < 100, name
        assert text.startswith(f'"""{name}: ')
        assert all(part in text for part in ("Covers: ", "Does not cover: ", "Default: ")), name
    documented = (DOCS / "filters.md").read_text("utf-8")
    for name in filters.FILTERS:
        assert f"`{name}`" in documented
        assert all(f"`{option}`" in documented for option in filters.defaults(name)), name


text = st.one_of(
    st.none(),
    st.text(st.characters(), max_size=200),  # surrogates too
    st.text("aA .\n'\"-:@0159()[]{}<>I'm sorry cannot image hint", max_size=300),
    st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=8), st.integers(1, 400)),
)
rows = st.builds(
    lambda **fields: healthy() | fields,
    query=text.map(lambda value: value or ""),
    final_response=text,
    caption=text,
    reference=text,
    direct_response=text,
    error_message=text,
    eyes_closed=st.booleans(),
    label_safe=st.sampled_from([None, True, False]),
    status=st.sampled_from(["ok", "unresolved", "error"]),
    picture_sha256=st.sampled_from([[], ["ab" * 32]]),
    steps=st.lists(
        st.fixed_dictionaries({"name": st.sampled_from(["answer", "tell", "x"]), "text": text, "finish_reason": text}),
        max_size=3,
    ),
)


@pytest.fixture(scope="module")
def every() -> list[tuple[str, Filter]]:
    return [(name, made(name)) for name in filters.DEFAULT]


@given(row=rows)
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_no_filter_raises_on_any_text(every: list[tuple[str, Filter]], row: Row) -> None:
    for name, run in every:
        drop = run(row)
        assert drop is None or (drop.reason and drop.evidence.encode() is not None), name


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1",
        "1 ",
        "0123456789 ",
        "i cannot ",
        "see ",
        "image ",
        "a@b.",
        "(",
        "1.",
        ":",
        "\ud800",
        "的",
        '"',
        "la la, ",
    ],
)
def test_no_filter_is_slow_on_long_text(every: list[tuple[str, Filter]], piece: str) -> None:
    """100 kB of one piece: a bounded part is looked at, and no pattern backtracks without end (timeout)."""
    long = (piece * 100_000)[:100_000]
    for fields in ({"final_response": long}, {"query": long}, {"caption": long, "final_response": long}):
        for _, run in every:
            run(healthy() | {"eyes_closed": True, "label_safe": True} | fields)


@given(st.text(st.characters(), max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_snippets_can_be_written(text: str, start: int, end: int) -> None:
    found = snippet(text, start, end)
    assert len(found.encode()) <= 4 * 161
    assert found == " ".join(found.split())


def test_plain_writes_contractions_out() -> None:
    assert plain("I can\u2019t,  you won't,\nit's \u201cfine\u201d") == 'i cannot, you will not, it is "fine"'


def test_order_of_the_rows_does_not_matter(every: list[tuple[str, Filter]]) -> None:
    """A filter keeps nothing between rows: shuffled rows get the same drops."""
    planted = [row for name in filters.DEFAULT for row, _ in cases("tune", name)]
    straight = [filters.first_drop(every, row) for row in planted]
    order = list(range(len(planted)))
    random.Random(1).shuffle(order)
    shuffled = {at: filters.first_drop(every, planted[at]) for at in order}
    assert straight == [shuffled[at] for at in range(len(planted))]
