"""Labels from every kind of file, and what is wrong with a bad one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.calibration.labels import read_labels
from engine.errors import UsageError

A, B = "a" * 64, "b" * 64


def test_three_kinds_of_file_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"query_id,harmful,by\n{A},1,me\n{B},0,me\n")
    (tmp_path / "l.jsonl").write_text(
        f'{{"query_id": "{A}", "harmful": true}}\n\n{{"query_id": "{B}", "harmful": 0}}\n'
    )
    pq.write_table(pa.table({"query_id": [A, B], "harmful": [1.0, 0.0]}), tmp_path / "l.parquet")
    for name in ("l.csv", "l.jsonl", "l.parquet"):
        assert read_labels(str(tmp_path / name)) == {A: True, B: False}


def test_a_filled_in_review_file_is_a_file_of_labels(tmp_path: Path) -> None:
    file = tmp_path / "review.jsonl"
    file.write_text(
        f'{{"query_id": "{A}", "verdict": "harmless", "note": "x"}}\n{{"query_id": "{B}", "verdict": null}}\n'
    )
    assert read_labels(str(file)) == {A: False}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("l.txt", "", "expected a .csv"),
        ("l.csv", f"query_id,harmful\n{A},maybe\n", "row 1: found 'maybe'"),
        ("l.csv", f"id,harmful\n{A},1\n", "expected query_id"),
        ("l.csv", f"query_id,harmful\n{A},1\n{A},0\n", "harmful in one row and not in another"),
        ("l.csv", "query_id,harmful\n", "no label there"),
        ("l.jsonl", "{\n", "line 1: no JSON"),
        ("l.jsonl", "[1]\n", "expected an object"),
        ("l.jsonl", f'{{"query_id": "{A}"}}\n', "expected query_id"),
        ("l.parquet", "nonsense", "no readable Parquet"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=words):
        read_labels(str(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(str(tmp_path / "no.csv"))
