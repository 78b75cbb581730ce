"""VLGuard's layout: rows, pictures in folders and zips, and the one message where there is no data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from engine.errors import SourceError, UsageError
from engine.sources import SourceConfig, SourceRow, iter_rows, load, open_source, select
from engine.types import query_id
from tests.sources.make import safe_record, unsafe_record, write_vlguard


def rows_of(folder: Path, split: str | None = None, **where: str) -> list[SourceRow]:
    source = open_source(SourceConfig("vlguard", path=str(folder), split=split))
    return [
        row for window, chosen in select(source.windows(), where=where).windows for row in iter_rows(window, chosen)
    ]


def test_vlguard_train_has_2977_rows(tmp_path: Path) -> None:
    """977 safe pictures give two rows each, 1,023 unsafe ones one: the counts of the published set."""
    records = [safe_record(i) for i in range(977)] + [unsafe_record(i) for i in range(1023)]
    rows = rows_of(write_vlguard(tmp_path, records))
    assert len(rows) == 2977
    assert [row.index for row in rows] == list(range(2977))
    assert len({row.key for row in rows}) == 2977
    assert sum(row.label_safe is True for row in rows) == 977
    assert len({load(row).query_id for row in rows}) == 2977


def test_a_safe_picture_gives_a_safe_and_an_unsafe_row(tmp_path: Path) -> None:
    write_vlguard(tmp_path, [unsafe_record(1), safe_record(2, concept="lamp")])
    first, safe, unsafe = map(load, rows_of(tmp_path))
    assert (first.text, first.label_safe, first.category) == ("Describe 1", False, "privacy")
    assert (safe.text, safe.label_safe, safe.reference) == ("What is 2?", True, "It is 2")
    assert (unsafe.text, unsafe.label_safe, unsafe.reference) == ("Can you misuse 2?", False, "No")
    assert safe.pictures[0].sha256 == unsafe.pictures[0].sha256
    assert (first.source_key, safe.source_key, unsafe.source_key) == (
        "train.json:0#0",
        "train.json:1#0",
        "train.json:1#1",
    )
    assert json.loads(unsafe.extra or "") == {
        "id": "s2",
        "image": "coco/s2.png",
        "concept": "lamp",
        "instruction_key": "unsafe_instruction",
        "picture_safe": True,
    }
    assert first.query_id == query_id([bytes.fromhex(first.pictures[0].sha256)], "Describe 1")


@pytest.mark.parametrize(
    ("pictures", "prefix"), [("folder", ""), ("root", ""), ("zip", ""), ("zip", "train/")], ids=str
)
def test_pictures_are_found_extracted_or_zipped(tmp_path: Path, pictures: str, prefix: str) -> None:
    records = [unsafe_record(i) for i in range(3)]
    expected = [load(row).query_id for row in rows_of(write_vlguard(tmp_path / "a", records))]
    found = [load(row) for row in rows_of(write_vlguard(tmp_path / "b", records, pictures=pictures, prefix=prefix))]
    assert [query.query_id for query in found] == expected


def test_windows_survive_pickling(tmp_path: Path) -> None:
    source = open_source(
        SourceConfig("vlguard", path=str(write_vlguard(tmp_path, [safe_record(i) for i in range(600)])))
    )
    windows = pickle.loads(pickle.dumps(source.windows()))
    assert len(windows) == 3
    assert sum(window.count for window in windows) == 1200 == sum(len(list(window.rows())) for window in windows)


def test_rows_of_doubtful_quality_stay(tmp_path: Path) -> None:
    """Duplicate ids, empty responses and placeholder queries are for curation to judge."""
    placeholder = unsafe_record(1, id="same")
    placeholder["instr-resp"] = [{"instruction": "N/A", "response": ""}]
    rows = rows_of(write_vlguard(tmp_path, [placeholder, unsafe_record(2, id="same")]))
    assert [(row.text, row.reference, row.problem) for row in rows] == [
        ("N/A", "", None),
        ("Describe 2", "I cannot 2", None),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": 7}, "image: found 7, expected the path"),
        ({"instr-resp": "x"}, 'instr-resp: found "x", expected a list'),
        ({"instr-resp": []}, "instr-resp: found [], expected a list"),
        ({"instr-resp": [{"question": "x"}]}, "expected an object with one of instruction"),
        ({"instr-resp": [{"instruction": 3, "response": "x"}]}, 'text: found 3, expected type "string"'),
        ({"instr-resp": [{"instruction": "  ", "response": "x"}]}, "the query is empty"),
        ({"instr-resp": [{"instruction": "x", "response": 4}]}, "reference: found 4, expected"),
        ({"instr-resp": [{"instruction": "x", "response": "\ud800"}]}, "reference: found"),
        ({"safe": "no"}, 'label_safe: found "no", expected'),
        ({"harmful_category": 1}, "category: found 1, expected"),
    ],
)
def test_a_bad_record_is_a_row_with_a_problem(tmp_path: Path, change: dict[str, object], words: str) -> None:
    write_vlguard(tmp_path, [unsafe_record(0)])
    (tmp_path / "train.json").write_text(json.dumps([unsafe_record(0), unsafe_record(0) | change, unsafe_record(0)]))
    good, bad, other = rows_of(tmp_path)
    assert good.problem is None
    assert other.problem is None
    assert bad.problem is not None
    assert "train.json:1#0" in bad.problem
    assert words in bad.problem
    assert bad.problem_type
    with pytest.raises(SourceError, match=r"train\.json:1#0"):
        load(bad)


def test_a_missing_picture_is_an_error_of_its_row(tmp_path: Path) -> None:
    write_vlguard(tmp_path, [unsafe_record(0), unsafe_record(1)])
    (tmp_path / "train" / "bad_ads" / "u1.png").unlink()
    good, bad = rows_of(tmp_path)
    assert load(good).pictures
    with pytest.raises(SourceError, match=r"train\.json:1#0: .*u1\.png: no such picture"):
        load(bad)


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "\x00"])
def test_an_index_that_is_no_list_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(UsageError, match=r"train\.json: found"):
        rows_of(tmp_path)


def test_missing_pictures_index_or_folder_are_refused(tmp_path: Path) -> None:
    write_vlguard(tmp_path / "a", [unsafe_record(0)], pictures="none")
    with pytest.raises(UsageError, match=r"none of the 1 pictures .*bad_ads/u0\.png"):
        rows_of(tmp_path / "a")
    with pytest.raises(UsageError, match=r"no test\.json for --split test; splits found: train"):
        rows_of(tmp_path / "a", split="test")
    with pytest.raises(UsageError, match=r"(?s)no such folder.*request access.*--path.*--queries sample"):
        rows_of(tmp_path / "nowhere")
    (tmp_path / "a" / "train.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="no readable zip"):
        rows_of(tmp_path / "a")


def test_a_split_cannot_climb_out_of_the_folder(tmp_path: Path) -> None:
    write_vlguard(tmp_path / "a", [unsafe_record(0)])
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match="splits found"):
        rows_of(tmp_path / "b", split="../a/train")


def test_unknown_source_names_are_listed() -> None:
    with pytest.raises(
        UsageError,
        match=r"vlgard: unknown; did you mean vlguard\? There are sample, vlguard, parquet, folder",
    ):
        open_source(SourceConfig("vlgard"))
