"""`--where` and `--limit`: which rows a run takes, and what it says where it can take none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import SourceError, UsageError
from engine.pictures import PictureCaps
from engine.sources import SourceRow, bad_row_id, iter_rows, load, select
from engine.sources.records import bad_row
from engine.sources.refs import FileRef, InlineRef
from engine.types import query_id
from tests.sources.make import picture


@dataclass
class ListWindow:
    """A window over rows in a list, which counts how often it is opened."""

    kept: list[SourceRow]
    count: int | None = None
    opened: list[int] = field(default_factory=list)

    def rows(self) -> Iterator[SourceRow]:
        self.opened.append(1)
        return iter(self.kept)


def window(first: int, *categories: str | None, known: bool = True) -> ListWindow:
    rows = [
        SourceRow(
            first + i, f"x:{first + i}", "t", category=name, label_safe=i % 2 == 0, extra='{"n": 3, "kind": "sign"}'
        )
        for i, name in enumerate(categories)
    ]
    return ListWindow(rows, len(rows) if known else None)


def taken(windows: list[ListWindow], where: dict[str, str] | None = None, limit: int | None = None) -> list[int]:
    plan = select(windows, where=where, limit=limit)
    rows = [row.index for part, selection in plan.windows for row in iter_rows(part, selection)]
    assert len(rows) == plan.total
    return rows


def test_everything_is_taken_without_opening_windows_of_known_count() -> None:
    windows = [window(0, "a", "b"), window(2), window(2, "c", known=False)]
    plan = select(windows)
    assert plan.total == 3
    assert [len(part.opened) for part in windows] == [0, 0, 1]
    assert len(plan.windows) == 2


def test_the_limit_takes_the_first_rows_after_where() -> None:
    windows = [window(0, "a", "b", "a"), window(3, "b"), window(4, "a", "a")]
    assert taken(windows, limit=4) == [0, 1, 2, 3]
    assert taken(windows, {"category": "a"}) == [0, 2, 4, 5]
    assert taken(windows, {"category": "a"}, 3) == [0, 2, 4]
    assert taken(windows, limit=100) == [0, 1, 2, 3, 4, 5]


def test_windows_behind_the_limit_are_not_opened() -> None:
    windows = [window(0, "a", known=False), window(1, "a", known=False), window(2, "a", known=False)]
    assert taken(windows, limit=1) == [0]
    assert [len(part.opened) for part in windows] == [2, 0, 0]


def test_where_knows_labels_and_further_columns() -> None:
    windows = [window(0, "a", "b", None)]
    assert taken(windows, {"safe": "false"}) == [1]
    assert taken(windows, {"label_safe": "True", "category": "a"}) == [0]
    assert taken(windows, {"n": "3", "kind": "sign"}) == [0, 1, 2]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"colour": "red"}, "no row has a column colour; columns seen: category, kind, n, safe"),
        ({"subcategory": "x"}, "no row has a column subcategory"),
        ({"category": "z"}, 'no row has that value; values seen: "a", "b"'),
        ({"category": "b", "safe": "true"}, "no row has all of category=b, safe=true"),
        ({"safe": "maybe"}, 'found "maybe", expected true or false'),
    ],
)
def test_where_that_fits_nothing_is_refused(where: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        select([window(0, "a", "b")], where=where)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="--limit: found 0"):
        select([window(0, "a")], limit=0)


def test_bad_rows_are_taken_unless_where_asks_for_a_column() -> None:
    windows = [ListWindow([bad_row(0, "x:0", "bad", "E", source="s"), SourceRow(1, "x:1", "t", category="a")])]
    assert taken(windows) == [0, 1]
    assert taken(windows, {"category": "a"}) == [1]


def test_load_gives_content_ids_and_reads_one_picture_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    ref = FileRef(str(tmp_path), "a.png")
    query = load(SourceRow(5, "k", "t", source="s", pictures=(ref, InlineRef(picture(1)))))
    assert query.query_id == query_id([bytes.fromhex(found.sha256) for found in query.pictures], "t")
    assert (query.source, query.source_key, query.source_index) == ("s", "k", 5)
    assert load(SourceRow(6, "j", "t", pictures=(ref, InlineRef(picture(1))))).query_id == query.query_id


def test_load_names_row_and_picture_in_its_errors() -> None:
    with pytest.raises(SourceError, match=r"^k: cell: the picture is empty"):
        load(SourceRow(0, "k", "t", pictures=(InlineRef(b"", "cell"),)))
    with pytest.raises(SourceError, match="at most 10 are accepted"):
        load(SourceRow(0, "k", "t", pictures=(InlineRef(picture()),)), caps=PictureCaps(max_bytes=10))
    with pytest.raises(SourceError, match=r"^k: the query is empty"):
        load(SourceRow(0, "k", " "))


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
DIGESTS = st.lists(st.binary(min_size=32, max_size=32), max_size=3)


@given(DIGESTS, TEXTS, DIGESTS, TEXTS)
def test_query_ids_are_stable_and_differ_by_content(
    digests: list[bytes], text: str, others: list[bytes], other: str
) -> None:
    first = query_id(digests, text)
    assert first == query_id(list(digests), text)
    assert len(first) == 64
    assert (first == query_id(others, other)) == ((digests, text) == (others, other))


@given(TEXTS, TEXTS, TEXTS)
def test_bad_row_ids_follow_from_the_place(source: str, key: str, other: str) -> None:
    assert bad_row_id(source, key) == bad_row_id(source, key)
    assert (bad_row_id(source, key) == bad_row_id(source, other)) == (key == other)


@given(st.lists(st.lists(st.sampled_from(["a", "b", None]), max_size=5), max_size=6), st.integers(1, 12), st.booleans())
def test_any_plan_takes_what_a_plain_filter_takes(groups: list[list[str | None]], limit: int, known: bool) -> None:
    windows: list[ListWindow] = []
    flat: list[SourceRow] = []
    for group in groups:
        windows.append(window(len(flat), *group, known=known))
        flat += windows[-1].kept
    assert taken(windows, limit=limit) == [row.index for row in flat][:limit]
    wanted = [row.index for row in flat if row.category == "a"]
    if wanted:
        assert taken(windows, {"category": "a"}, limit) == wanted[:limit]


def test_importing_sources_is_cheap() -> None:
    """`--help` and the driver import this: pictures, Parquet and the Hub client load when they are used."""
    heavy = ("PIL", "pyarrow", "numpy", "torch", "ray", "huggingface_hub", "jsonschema")
    script = f"import sys, engine.sources, engine.pictures; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"
