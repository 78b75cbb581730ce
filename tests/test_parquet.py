"""Parquet as peers expect it: options, sizes, schema, errors that name row and field, and an Image that opens."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from engine.errors import OutputError
from engine.journal.convert import picture_row, transcript_to_dict
from engine.journal.store import Store
from engine.parquet import TableWriter, rows_to_table, write_options
from engine.types import Picture
from schemas import arrow_schema
from tests.journal.make import picture, transcript


def rows(*sizes: int) -> list[dict[str, Any]]:
    return [picture_row(picture(f"p{number}", size)) for number, size in enumerate(sizes)]


def test_picture_leaves_are_plain_and_uncompressed_others_are_snappy(tmp_path: Path) -> None:
    with TableWriter(Store(tmp_path), "pictures", "picture") as writer:
        writer.write(rows(1000, 2000))
    group = pq.read_metadata(tmp_path / writer.shards[0].path).row_group(0)
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    shown, other = columns["image.bytes"], columns["format"]
    assert (shown.compression, shown.has_dictionary_page) == ("UNCOMPRESSED", False)
    assert "PLAIN" in shown.encodings
    assert (other.compression, other.has_dictionary_page) == ("SNAPPY", True)
    assert shown.has_column_index or shown.has_offset_index


def test_pictures_inside_lists_are_found() -> None:
    options = write_options(arrow_schema("sft"))
    assert options["compression"]["images.list.element.bytes"] == "none"
    assert options["compression"]["query_id"] == "snappy"
    assert "images.list.element.bytes" not in options["use_dictionary"]


def test_shards_and_row_groups_stay_under_their_limits(tmp_path: Path) -> None:
    with TableWriter(
        Store(tmp_path), "pictures", "picture", max_shard_bytes=20_000, row_group_bytes=8_000, name_prefix="a-"
    ) as writer:
        writer.write(rows(*[3000] * 9))
        writer.write(rows(9_000, 100))
    assert len(writer.shards) >= 2
    assert sum(shard.rows for shard in writer.shards) == 11
    for number, shard in enumerate(writer.shards):
        path = tmp_path / shard.path
        assert shard.path.startswith(f"pictures/a-{number:05d}-{shard.sha256[:12]}")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard.sha256
        metadata = pq.read_metadata(path)
        assert metadata.num_rows == shard.rows
        sizes = [
            metadata.row_group(group).column(1).total_uncompressed_size for group in range(metadata.num_row_groups)
        ]
        # One row may be larger than a group by itself; two may not share one then.
        assert all(size < 8_500 for size in sizes if size < 9_000)
        assert sum(sizes) < 20_000


def test_an_empty_table_is_one_file_that_opens(tmp_path: Path) -> None:
    with TableWriter(Store(tmp_path), "transcripts", "transcript") as writer:
        writer.write([])
    (shard,) = writer.shards
    assert shard.rows == 0
    found = pq.read_table(tmp_path / shard.path)
    assert found.cast(arrow_schema("transcript")).num_rows == 0
    assert found.schema.metadata[b"huggingface"] == arrow_schema("transcript").metadata[b"huggingface"]


def test_an_error_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError), TableWriter(Store(tmp_path), "pictures", "picture", row_group_bytes=1) as writer:
        writer.write([*rows(10, 10), {"no": "picture"}])
    with pytest.raises(OutputError), TableWriter(Store(tmp_path), "pictures", "picture", row_group_bytes=1) as writer:
        write_twice(writer)
    assert os.listdir(tmp_path / "pictures") == []


def write_twice(writer: TableWriter) -> None:
    """The first rows are in an open shard when the second call fails."""
    writer.write(rows(10, 10, 10))
    writer.write([{"no": "picture"}])


def test_a_folder_that_is_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("a file")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        TableWriter(Store(tmp_path), "pictures", "picture") as w,
    ):
        w.write(rows(10))


# --- rows_to_table -------------------------------------------------------------------------------------------------


def row(**changes: Any) -> dict[str, Any]:
    return {**transcript_to_dict(transcript()), **changes}


def test_rows_get_the_pinned_schema_even_where_a_column_is_empty() -> None:
    table = rows_to_table([row(caption=None, steps=[])], "transcript")
    assert table.schema.equals(arrow_schema("transcript"), check_metadata=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attempts": "three"}, "attempts: found str 'three', expected int32"),
        ({"attempts": 2**40}, "attempts: found int '1099511627776', expected int32"),
        ({"query": 7}, "query: found int '7', expected string"),
        ({"picture_sha256": ["a", 3]}, r"picture_sha256\[1\]: found int '3', expected string"),
        ({"steps": [{"name": "tell", "text": b"\xff"}]}, r"steps\[0\]\.text: found bytes"),
        ({"split": None}, "split: found null, expected string"),
        ({"surplus": 1}, "unknown surplus"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_field(changes: dict[str, Any], message: str) -> None:
    good, bad = row(), row(**changes)
    with pytest.raises(OutputError, match=message) as caught:
        rows_to_table([good, bad], "transcript")
    assert str(caught.value).startswith(f"row {bad['query_id']}")


def test_a_missing_column_is_named() -> None:
    bad = row()
    del bad["caption"]
    with pytest.raises(OutputError, match="missing caption"):
        rows_to_table([bad], "transcript")


def test_a_row_without_an_id_is_named_by_its_number() -> None:
    schema = pa.schema([("n", pa.int32())])
    with pytest.raises(OutputError, match=r"row number 1: n: found str 'x'"):
        rows_to_table([{"n": 1}, {"n": "x"}], schema)


# --- datasets ------------------------------------------------------------------------------------------------------


def png(colour: str) -> Picture:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, "PNG")
    data = buffer.getvalue()
    return Picture(data, hashlib.sha256(data).hexdigest(), 4, 3, "PNG")


@pytest.mark.slow
def test_datasets_reads_pictures_as_images(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    with TableWriter(Store(tmp_path), "pictures", "picture") as writer:
        writer.write([picture_row(png("red")), picture_row(png("blue"))])
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "pictures/*.parquet"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.slow
def test_datasets_reads_transcripts(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    with TableWriter(Store(tmp_path), "transcripts", "transcript") as writer:
        writer.write([row() for _ in range(2)])
    loaded = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "transcripts/*.parquet"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert len(loaded) == 2
    assert loaded.column_names == arrow_schema("transcript").names
