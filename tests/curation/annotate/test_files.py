"""Windows, parts and the reading of annotations, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.curation.annotations import Annotation, read
from engine.errors import OutputError, UsageError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.judges import files, imported
from engine.judges.files import Key, Window
from engine.judges.pictures import RunPictures
from tests.curation.annotate.conftest import annotations, picture
from tests.journal.make import hex_id, sealed_rows

KEY = Key("harm", "1 tiny@x scripted", "a" * 64, "final_response")


def write(store: Store, key: Key, rows: Sequence[tuple[object, str | None, float | None]], number: int = 0) -> None:
    made = [
        {"query_id": hex_id(name), "verdict": verdict, "p": p, "score": None, "text": None, "embedding": None}
        for name, verdict, p in rows
    ]
    files.write_part(store, key, Window(number, "t", 0, len(rows)), made)


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_windows_cover_each_row_once(run: Callable[..., str], rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "WINDOW_ROWS", 7)
    url = run(rows, errors=min(3, rows - 1))
    store, manifest = Store(url), read_manifest(url)
    assert manifest is not None
    finished = files.done(store, KEY)
    windows, todo, eligible = files.plan(store, manifest, "final_response", finished)
    assert todo == eligible == rows - min(3, rows - 1)
    found = [row for window in windows for row in files.read_window(store, window, "final_response", finished)]
    expected = [row for row in sealed_rows(url, manifest) if row["final_response"]]
    assert [query.query_id for query, _, _ in found] == [row["query_id"] for row in expected]
    assert [text for _, text, _ in found] == [row["final_response"] for row in expected]


def test_rows_with_an_annotation_are_left_out(run: Callable[..., str]) -> None:
    url = run(10)
    store, manifest = Store(url), read_manifest(url)
    assert manifest is not None
    write(store, KEY, [(number, "harmless", 0.1) for number in (2, 5)])
    finished = files.done(store, KEY)
    windows, todo, eligible = files.plan(store, manifest, "final_response", finished)
    assert (todo, eligible, len(windows)) == (8, 10, 1)
    left = {query.query_id for query, _, _ in files.read_window(store, windows[0], "final_response", finished)}
    assert left == {hex_id(number) for number in range(10)} - {hex_id(2), hex_id(5)}
    other = Key("harm", "2", "a" * 64, "final_response")
    assert not len(files.done(store, other).ids)


def test_parts_are_put_together_in_order(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for number in (2, 0, 1):
        write(store, KEY, [(f"{number}-{row}", "harmful", 0.75) for row in range(3)], number)
    assert len(files.files(store)) == 3
    shards = files.gather(store, KEY)
    assert [shard.rows for shard in shards] == [9]
    assert [row["query_id"] for row in annotations(str(tmp_path))] == [
        hex_id(f"{number}-{row}") for number in range(3) for row in range(3)
    ]
    assert files.gather(store, KEY) == []
    write(store, KEY, [("new", "unknown", None)], 5)
    files.gather(store, KEY)
    assert len(files.files(store)) == 2
    assert len(files.done(store, KEY).ids) == 10


names = st.lists(st.integers(0, 999), unique=True, max_size=30)
verdicts = st.sampled_from([None, "harmless", "harmful", "refused", "answered", "unknown"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), chosen=names)
def test_what_was_written_is_read(tmp_path_factory: Any, data: st.DataObject, chosen: list[int]) -> None:
    store = Store(str(tmp_path_factory.mktemp("run")))
    rows = [(n, data.draw(verdicts), data.draw(st.none() | st.floats(0, 1, width=32))) for n in chosen]
    middle = len(rows) // 2
    write(store, KEY, rows[:middle] or [("x", None, None)], 0)
    write(store, KEY, rows[middle:] or [("y", None, None)], 1)
    found = read(store, {})
    for name, verdict, p in rows:
        assert found.get(hex_id(name), "harm") == Annotation("harm", KEY.version, KEY.field, verdict, p)
    assert found.get(hex_id("absent"), "harm") is None


def test_which_one_is_meant(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    second = Key("harm", "1 llava@y vllm", "a" * 64, "final_response")
    direct = Key("harm", "1 tiny@x scripted", "a" * 64, "direct_response")
    write(store, KEY, [("q", "harmless", 0.25)])
    write(store, second, [("q", "harmful", 0.75)])
    found = read(store, {})
    with pytest.raises(UsageError, match=r"stands for 2.*llava"):
        found.get(hex_id("q"), "harm")
    assert found.get(hex_id("q"), "harm@llava") == Annotation("harm", second.version, "final_response", "harmful", 0.75)
    write(store, direct, [("q", "unknown", None)])
    found = read(store, {})
    assert found.get(hex_id("q"), "harm@tiny", "direct_response") == Annotation(
        "harm", direct.version, "direct_response", "unknown", None
    )
    with pytest.raises(UsageError, match="no annotations of judge refusal"):
        found.get(hex_id("q"), "refusal")
    assert [key.field for key in found.keys] == ["direct_response", "final_response", "final_response"]


def test_reading_needs_few_bytes_a_row(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    write(store, KEY, [(number, "harmless", 0.5) for number in range(2000)])
    (column,) = read(store, {})._columns.values()
    assert column.ids.nbytes + column.verdicts.nbytes + column.p.nbytes == 21 * 2000


def test_no_annotations_are_no_error(tmp_path: Path) -> None:
    assert read(Store(str(tmp_path)), {}).keys == []


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    import pyarrow as pa

    store = Store(str(tmp_path))
    store.write("annotations/x.parquet", b"PAR1 no")
    with pytest.raises(UsageError, match="no readable Parquet"):
        read(store, {})
    store.remove("annotations/x.parquet")
    (tmp_path / "annotations").mkdir(exist_ok=True)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "annotations" / "y.parquet")
    with pytest.raises(UsageError, match="not the columns"):
        read(store, {})


def test_pictures_of_a_run(run: Callable[..., str]) -> None:
    url = run(9)
    manifest = read_manifest(url)
    assert manifest is not None
    pictures = RunPictures(Store(url), manifest)
    wanted = [picture(number).sha256 for number in (3, 0, 3, 4)]
    assert pictures.get(wanted) == {picture(number).sha256: picture(number) for number in (0, 3, 4)}
    with pytest.raises(OutputError, match="stands in no pictures/"):
        pictures.get(["ff" * 32])


def parquet(path: Path, rows: list[dict[str, Any]]) -> str:
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def test_a_file_from_elsewhere(tmp_path: Path) -> None:
    rows = [{"query_id": hex_id(n), "embedding": [float(n), 0.5], "more": "x"} for n in range(5)]
    path = parquet(tmp_path / "vectors.parquet", rows)
    store = Store(str(tmp_path / "run"))
    known = np.unique(np.array([bytes.fromhex(hex_id(n)[:32]) for n in range(4)], "S16"))
    key = imported.key_of("embedding", path, None)
    assert key.field == "query"
    assert imported.bring_in(store, key, path, known) == (4, 1)
    found = read(store, {})
    assert found.get(hex_id(3), "embedding") == Annotation("embedding", "file vectors.parquet", "query", None, None)
    (table,) = found.embeddings()
    assert table.column("embedding").to_pylist() == [[float(n), 0.5] for n in range(4)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"query_id": hex_id(1)}], "expected query_id and one or more"),
        ([{"verdict": "harmful"}], "expected query_id"),
        ([{"query_id": "abc", "verdict": "harmful"}], "64 hex"),
        ([{"query_id": "z" * 64, "verdict": "harmful"}], "64 hex"),
        ([{"query_id": hex_id(1), "verdict": "bad"}], "expected one of harmless"),
        ([{"query_id": hex_id(1), "p": 1.5}], "from 0 to 1"),
        ([{"query_id": hex_id(1), "embedding": [1.0, float("nan")]}], "finite"),
        ([{"query_id": hex_id(1), "p": 0.5}] * 2, "more than once"),
    ],
)
def test_bad_files_from_elsewhere(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    path = parquet(tmp_path / "f.parquet", rows)
    store = Store(str(tmp_path / "run"))
    known = np.array([bytes.fromhex(hex_id(1)[:32])], "S16")
    with pytest.raises(UsageError, match=message):
        imported.bring_in(store, imported.key_of("mine", path, None), path, known)
    assert files.files(store) == []


def test_no_file_and_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        imported.key_of("mine", str(tmp_path / "absent"), None)
    (tmp_path / "text").write_text("no")
    key = imported.key_of("mine", str(tmp_path / "text"), None)
    with pytest.raises(UsageError, match="no readable Parquet"):
        imported.bring_in(Store(str(tmp_path)), key, str(tmp_path / "text"), np.empty(0, "S16"))
