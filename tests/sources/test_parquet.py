"""Parquet: any picture column, planned without reading picture bytes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import SourceError, UsageError
from engine.sources import SourceConfig, SourceRow, load, open_source, parquet, select
from engine.sources.fields import NAMES, checked_columns, parse_columns
from engine.sources.refs import ParquetRef
from tests.sources.make import picture

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, rows: int = 10, group: int = 4, kind: pa.DataType = IMAGE, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells: list[Any] = [picture(number) for number in range(rows)]
    if kind == IMAGE:
        cells = [{"bytes": data, "path": None} for data in cells]
    if pa.types.is_list(kind):
        cells = [[{"bytes": picture(n + i), "path": "x"} for i in range(n % 3)] for n in range(rows)]
    columns = {"question": [f"q{n}" for n in range(rows)], "image": pa.array(cells, kind), **more}
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def open_parquet(path: Path | str, **config: Any) -> list[SourceRow]:
    windows = pickle.loads(pickle.dumps(open_source(SourceConfig("parquet", path=str(path), **config)).windows()))
    rows = [row for window in windows for row in window.rows()]
    assert len(rows) == sum(window.count for window in windows)
    assert [row.index for row in rows] == list(range(len(rows)))
    assert len({row.key for row in rows}) == len(rows)
    return rows


@pytest.mark.parametrize("kind", [IMAGE, pa.binary(), pa.large_binary()], ids=str)
def test_pictures_of_any_column_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    rows = open_parquet(write(tmp_path / "a.parquet", kind=kind))
    assert [load(row).pictures[0].data for row in rows] == [picture(n) for n in range(10)]
    assert (rows[5].key, rows[5].text) == ("a.parquet:1:1", "q5")


def test_lists_of_pictures_give_all_of_them(tmp_path: Path) -> None:
    rows = open_parquet(write(tmp_path / "a.parquet", kind=pa.list_(IMAGE)))
    expected = [[picture(n + i) for i in range(n % 3)] for n in range(10)]
    assert [[found.data for found in load(row).pictures] for row in rows] == expected


def test_planning_and_walking_read_no_picture_bytes(tmp_path: Path) -> None:
    """The chunk of the picture bytes is overwritten: everything but `load` still works."""
    file = write(tmp_path / "a.parquet", category=["a", "b"] * 5)
    data = bytearray(file.read_bytes())
    metadata = pq.read_metadata(file)
    for group in range(metadata.num_row_groups):
        chunk = next(c for i in range(4) if (c := metadata.row_group(group).column(i)).path_in_schema == "image.bytes")
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(data)
    plan = select(open_source(SourceConfig("parquet", path=str(file))).windows(), where={"category": "a"})
    assert plan.total == 5
    rows = open_parquet(file)
    assert all(len(row.pictures) == 1 for row in rows)
    with pytest.raises(SourceError, match=r"a\.parquet:0:0: .*cannot be read"):
        load(rows[0])


def test_a_damaged_page_loses_no_row(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", rows=12)
    data = bytearray(file.read_bytes())
    chunk = pq.read_metadata(file).row_group(1).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(data)
    rows = open_parquet(file)
    assert [bool(row.problem) for row in rows] == [False] * 4 + [True] * 4 + [False] * 4
    assert "a.parquet:1:0: the row group cannot be read" in (rows[4].problem or "")


def test_names_in_order_are_cells_in_order() -> None:
    """The pipeline sorts a window by name; in any other order a row group would be decoded over and over."""
    refs = [
        ParquetRef("a.parquet", group, row, "image", item)
        for group in (0, 9, 10)
        for row in (0, 9, 10, 100)
        for item in (0, 11)
    ]
    assert sorted(refs, key=lambda ref: ref.name) == refs


@pytest.mark.parametrize("kind", [IMAGE, pa.binary()], ids=str)
def test_rows_without_a_picture_are_text_alone(tmp_path: Path, kind: pa.DataType) -> None:
    cell: Any = {"bytes": picture(), "path": None} if kind == IMAGE else picture()
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "image": pa.array([None, cell], kind)}), file)
    assert [len(load(row).pictures) for row in open_parquet(file)] == [0, 1]


def test_a_cell_with_only_a_path_is_an_error_of_its_row(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"], "image": pa.array([{"bytes": None, "path": "/x.png"}], IMAGE)}), file)
    with pytest.raises(SourceError, match=r"only a path, '/x\.png'"):
        load(open_parquet(file)[0])


def test_cells_can_be_read_in_any_order(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", rows=100, group=50)
    for row in (49, 0, 17, 17, 33, 2):
        for group in (0, 1):
            assert ParquetRef(str(file), group, row, "image").read() == picture(group * 50 + row)
    with pytest.raises(SourceError, match="cannot be read"):
        ParquetRef(str(file), 0, 50, "image").read()
    with pytest.raises(SourceError, match="at most 5 are"):
        ParquetRef(str(file), 0, 0, "image").read(5)


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    ref = ParquetRef(str(write(tmp_path / "a.parquet", rows=2)), 0, 0, "image")
    assert ref.read() == picture(0)
    pq.write_table(pa.table({"image": pa.array([{"bytes": picture(9), "path": None}] * 40, IMAGE)}), ref.file)
    assert ref.read() == picture(9)


def test_labels_and_further_columns_are_kept(tmp_path: Path) -> None:
    more: Any = {
        "safe": [1, 0],
        "category": [3, None],
        "score": [0.5, float("nan")],
        "nested": [[1], [2]],
        "raw": [b"x", b"y"],
    }
    first, second = open_parquet(write(tmp_path / "a.parquet", rows=2, **more), columns={"image": "image"})
    assert (first.label_safe, first.category, second.label_safe, second.category) == (True, "3", False, None)
    assert json.loads(first.extra or "") == {"score": 0.5}
    assert json.loads(second.extra or "") == {"score": "nan"}


def test_bad_cells_are_rows_with_a_problem(tmp_path: Path) -> None:
    texts = ["good", "", None, "a\0b", " ", "N/A"]
    columns = {"text": texts, "image": pa.array([picture()] * 6, pa.binary())}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = open_parquet(tmp_path / "a.parquet")
    assert [bool(row.problem) for row in rows] == [False, True, True, True, True, False]
    assert "a.parquet:0:1: the query is empty" in (rows[1].problem or "")


def test_folders_globs_and_splits(tmp_path: Path) -> None:
    write(tmp_path / "data" / "train-00000-of-00002.parquet", rows=3)
    write(tmp_path / "data" / "train-00001-of-00002.parquet", rows=2)
    write(tmp_path / "data" / "test-00000-of-00001.parquet", rows=1)
    assert len(open_parquet(tmp_path)) == 6
    rows = open_parquet(tmp_path, split="train")
    assert [row.key for row in rows][3] == "train-00001-of-00002.parquet:0:0"
    assert {row.split for row in rows} == {"train"}
    assert len(open_parquet(f"{tmp_path}/data/te*.parquet")) == 1
    with pytest.raises(UsageError, match="no Parquet file of split dev"):
        open_parquet(tmp_path, split="dev")


def test_our_own_data_set_is_a_source(tmp_path: Path) -> None:
    """A sealed `sft/` shard: a list of Image, `query` and `response`."""
    from schemas import arrow_schema

    schema = pa.schema([field for field in arrow_schema("sft") if field.name in ("images", "query", "response")])
    rows = [{"images": [{"bytes": picture(), "path": None}], "query": "q", "response": "r"}]
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "sft.parquet")
    query = load(open_parquet(tmp_path / "sft.parquet")[0])
    assert (query.text, query.reference, len(query.pictures)) == ("q", "r", 1)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"text": "frage"}, "no column 'frage'"),
        ({"image": "note"}, "column note is string, expected struct<bytes"),
        ({"image": ""}, None),
    ],
)
def test_mapped_columns_are_checked_before_anything_starts(
    tmp_path: Path, columns: dict[str, str], words: str | None
) -> None:
    file = write(tmp_path / "a.parquet", note=["x"] * 10)
    if words is None:
        assert all(row.pictures == () for row in open_parquet(file, columns=columns))
        return
    with pytest.raises(UsageError, match=words):
        open_parquet(file, columns=columns)


def test_the_only_column_with_pictures_is_found_by_its_type(tmp_path: Path) -> None:
    cells = pa.array([{"bytes": picture(), "path": None}], IMAGE)
    pq.write_table(pa.table({"text": ["a"], "bild": cells}), tmp_path / "a.parquet")
    assert load(open_parquet(tmp_path / "a.parquet")[0]).pictures
    pq.write_table(pa.table({"text": ["a"], "bild": cells, "foto": cells}), tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="2 columns may hold pictures; map one"):
        open_parquet(tmp_path / "b.parquet")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(UsageError, match=r"0 columns may hold pictures; map one .* or image="):
        open_parquet(tmp_path / "c.parquet")


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UsageError, match="no readable Parquet file"):
        open_parquet(tmp_path)
    with pytest.raises(UsageError, match="no --path"):
        open_source(SourceConfig("parquet"))
    with pytest.raises(UsageError, match="no Parquet file found"):
        open_parquet(tmp_path / "missing.parquet")


def test_identity_follows_the_content(tmp_path: Path) -> None:
    first = open_source(SourceConfig("parquet", path=str(write(tmp_path / "a.parquet")))).identity()
    again = open_source(SourceConfig("parquet", path=str(write(tmp_path / "a.parquet")))).identity()
    other = open_source(SourceConfig("parquet", path=str(write(tmp_path / "a.parquet", rows=9)))).identity()
    assert first == again
    assert first["index_sha256"] != other["index_sha256"]


@pytest.mark.parametrize(
    ("file", "split", "expected"),
    [
        ("data/train-0.parquet", "train", True),
        ("train/0.parquet", "train", True),
        ("train.parquet", "train", True),
        ("data/training-0.parquet", "train", False),
        ("data/test-0.parquet", "train", False),
        ("anything.parquet", None, True),
    ],
)
def test_of_split(file: str, split: str | None, expected: bool) -> None:
    assert parquet.of_split(file, split) is expected


COLUMN = (
    st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1, max_size=8).map(str.strip).filter(bool)
)


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), COLUMN, min_size=1))
def test_a_column_flag_parses_to_what_was_written(columns: dict[str, str]) -> None:
    flag = " , ".join(f"{field} = {column}" for field, column in columns.items())
    assert parse_columns(flag) == columns
    assert dict(checked_columns(columns)) == columns


@pytest.mark.parametrize("flag", ["text", "text=a,text=b", "=a", "frage=a", "text="])
def test_bad_column_flags_are_refused(flag: str) -> None:
    with pytest.raises(UsageError, match="columns: "):
        checked_columns(parse_columns(flag))
