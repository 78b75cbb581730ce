"""JSON Lines and CSV beside a folder of pictures: every line is a row, or a row with a problem that names it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import SourceError, UsageError
from engine.sources import SourceConfig, SourceRow, load, open_source
from engine.sources.lines import read_lines, scan_rows
from tests.sources.make import picture, write_jsonl


def rows_of(path: Path, **config: Any) -> list[SourceRow]:
    source = open_source(SourceConfig("folder", path=str(path), **config))
    windows = pickle.loads(pickle.dumps(source.windows()))
    rows = [row for window in windows for row in window.rows()]
    assert len(rows) == sum(window.count for window in windows)
    return rows


def write(path: Path, *lines: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
    return path


GOOD = '{"text": "good"}'


def test_a_jsonl_row_has_all_fields(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    row = {"question": "Why?", "image": "a.png", "category": "c", "subcategory": "s", "safe": True, "response": "r"}
    write_jsonl(tmp_path / "queries.jsonl", [{**row, "note": {"a": [1, "ü"]}}])
    query = load(rows_of(tmp_path)[0])
    assert (query.text, query.category, query.subcategory, query.label_safe) == ("Why?", "c", "s", True)
    assert (query.reference, query.source, query.source_key) == ("r", "folder", "queries.jsonl:1")
    assert json.loads(query.extra or "") == {"note": {"a": [1, "ü"]}}
    assert query.pictures[0].data == picture()


def test_several_pictures_and_none_are_legal(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    write_jsonl(tmp_path / "metadata.jsonl", [{"text": "x", "images": ["0.png", "1.png"]}, {"text": "y"}])
    two, none = map(load, rows_of(tmp_path))
    assert [found.data for found in two.pictures] == [picture(0), picture(1)]
    assert none.pictures == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "x"', "malformed JSON"),
        ("[1]", "found [1], expected a JSON object"),
        ('{"text": 3}', 'text: found 3, expected type "string"'),
        ('{"text": null}', "text: found null"),
        ('{"image": "a.png"}', "text: found null"),
        ('{"text": ""}', "the query is empty"),
        ('{"text": " \\n\\t "}', "the query is empty"),
        ('{"text": "a\\u0000b"}', "NUL character at position 1"),
        ('{"text": "\\ud800 x"}', "lone surrogate"),
        ('{"text": "x", "image": 3}', "pictures.0: found 3"),
        ('{"text": "x", "image": ""}', 'pictures.0: found ""'),
        ('{"text": "x", "images": ["a", null]}', "pictures.1: found null"),
        ('{"text": "x", "category": 1}', "category: found 1"),
        ('{"text": "x", "safe": "maybe"}', 'label_safe: found "maybe"'),
        ('{"text": "x", "split": 1}', "split: found 1"),
        ('{"text": "x", "category": "\\udfff"}', "category: found"),
        ('{"text": "x", "n": NaN}', "NaN is no JSON number"),
        (b'{"text": "\xff"}', "byte 0xff at column 11"),
        ("[" * 100_000, "malformed JSON"),
        ('{"text": ' + "9" * 5000 + "}", "malformed JSON"),
    ],
)
def test_a_bad_line_is_a_row_with_a_problem(tmp_path: Path, line: str | bytes, words: str) -> None:
    write(tmp_path / "queries.jsonl", GOOD, "", line, GOOD)
    good, bad, other = rows_of(tmp_path)
    assert (good.text, other.text, other.key) == ("good", "good", "queries.jsonl:4")
    assert good.problem is None
    assert bad.problem is not None
    assert words in bad.problem
    assert "queries.jsonl:3: " in bad.problem
    assert bad.problem_type
    bad.problem.encode()
    with pytest.raises(SourceError, match=r"queries\.jsonl:3"):
        load(bad)


@pytest.mark.parametrize(
    "text",
    ["N/A", "x" * 100_000, "<image>", "</s>", "{}", "{question} %s {0}", "USER: x ASSISTANT:", "ü 漢字 🙂", " a "],
)
def test_strange_queries_pass_unchanged(tmp_path: Path, text: str) -> None:
    write_jsonl(tmp_path / "queries.jsonl", [{"text": text}])
    assert load(rows_of(tmp_path)[0]).text == text
    csv_file = tmp_path / "b" / "queries.csv"
    write(csv_file, "text", '"' + text.replace('"', '""') + '"')
    assert load(rows_of(csv_file)[0]).text == text


def test_a_query_above_the_cap_is_a_bad_row(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "queries.jsonl", [{"text": "x"}, {"text": "ü" * 500_001}])
    assert "1,000,002 bytes" in (rows_of(tmp_path)[1].problem or "")


def test_an_endless_line_is_a_bad_row(tmp_path: Path) -> None:
    write(tmp_path / "queries.jsonl", GOOD, b'{"text": "' + b"x" * 2**24 + b'"}', GOOD)
    assert [bool(row.problem) for row in rows_of(tmp_path)] == [False, True, False]


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    write(tmp_path / "queries.jsonl", b"\xef\xbb\xbf" + GOOD.encode() + b"\r", GOOD + "\r")
    assert [row.text for row in rows_of(tmp_path)] == ["good", "good"]
    write(tmp_path / "c" / "queries.csv", b"\xef\xbb\xbftext,note\r", b'"a\r\nb",1\r')
    assert [(row.text, row.extra) for row in rows_of(tmp_path / "c")] == [("a\r\nb", '{"note": "1"}')]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[\n{"text": "x"}\n]\n', "found a JSON list"),
        (b"hello\nworld\n", "found no JSON Lines"),
        (b'{"frage": "x"}\n', "no column text, query, question, instruction; columns found: frage"),
        ('{"text": "x"}'.encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\0\0\0", "expected"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "queries.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match=words):
        rows_of(tmp_path)


def test_missing_and_ambiguous_index_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no --path"):
        open_source(SourceConfig("folder"))
    with pytest.raises(UsageError, match="no such folder"):
        rows_of(tmp_path / "x")
    with pytest.raises(UsageError, match=r"index files found: none; expected one of queries.jsonl"):
        rows_of(tmp_path)
    write(tmp_path / "a.jsonl", GOOD)
    assert len(rows_of(tmp_path)) == 1
    write(tmp_path / "b.csv", "text", "x")
    with pytest.raises(UsageError, match=r"a\.jsonl, b\.csv"):
        rows_of(tmp_path)
    assert len(rows_of(tmp_path / "b.csv")) == 1


def test_splits_are_files_or_folders(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", GOOD, GOOD)
    write(tmp_path / "test" / "metadata.jsonl", GOOD)
    assert [row.split for row in rows_of(tmp_path, split="train")] == ["train"] * 2
    assert [row.split for row in rows_of(tmp_path, split="test")] == ["test"]
    with pytest.raises(UsageError, match="for --split dev"):
        rows_of(tmp_path, split="dev")


def test_columns_can_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    write_jsonl(tmp_path / "queries.jsonl", [{"frage": "x", "bild": "a.png", "text": "other"}])
    row = rows_of(tmp_path, columns={"text": "frage", "image": "bild"})[0]
    assert (row.text, len(row.pictures), row.extra) == ("x", 1, '{"text": "other"}')
    with pytest.raises(UsageError, match="no column 'nothing'"):
        rows_of(tmp_path, columns={"text": "nothing"})
    with pytest.raises(UsageError, match="found field 'txt', expected one of text, image"):
        rows_of(tmp_path, columns={"txt": "frage"})


def test_csv_rows_have_typed_labels_and_absent_cells(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    write(tmp_path / "q.csv", "query,image,safe,category", "x,a.png,TRUE,c", 'y,,unsafe,""', "z,a.png,,c")
    rows = rows_of(tmp_path)
    assert [(r.text, len(r.pictures), r.label_safe, r.category) for r in rows] == [
        ("x", 1, True, "c"),
        ("y", 0, False, None),
        ("z", 1, None, "c"),
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"x", "found 1 fields, expected 2"),
        (b"x,y,z", "found 3 fields, expected 2"),
        (b'"x"y,z', "malformed CSV"),
        (b"\xff,z", "lone surrogate"),
        (b",z", "the query is empty"),
        (b"x,perhaps", "label_safe: found"),
    ],
)
def test_a_bad_csv_line_is_a_row_with_a_problem(tmp_path: Path, line: bytes, words: str) -> None:
    write(tmp_path / "q.csv", "text,safe", "good,1", "", line, "good,0")
    good, bad, other = rows_of(tmp_path)
    assert (good.problem, other.problem, other.key) == (None, None, "q.csv:5")
    assert words in (bad.problem or "")
    assert "q.csv:4: " in (bad.problem or "")


def test_a_quote_that_never_closes_is_one_bad_row(tmp_path: Path) -> None:
    write(tmp_path / "q.csv", "text,n", "a,1", '"b,2', "c,3")
    assert [bool(row.problem) for row in rows_of(tmp_path)] == [False, True]


@pytest.mark.parametrize("content", ["", "a,a\nx,y\n", "a,b\nx,y\n"])
def test_csv_files_without_a_usable_header_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "q.csv").write_text(content)
    with pytest.raises(UsageError, match=r"q\.csv"):
        rows_of(tmp_path)


def test_a_file_that_changes_after_planning_is_refused(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "queries.jsonl", [{"text": "x"}])
    window = open_source(SourceConfig("folder", path=str(tmp_path))).windows()[0]
    file.write_text(file.read_text() * 2)
    with pytest.raises(UsageError, match="when the run was planned"):
        list(window.rows())


def test_identity_names_path_and_content(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "queries.jsonl", [{"text": "x"}])
    first = open_source(SourceConfig("folder", path=str(tmp_path))).identity()
    write_jsonl(tmp_path / "queries.jsonl", [{"text": "y"}])
    second = open_source(SourceConfig("folder", path=str(tmp_path))).identity()
    assert first["path"] == str(tmp_path) == second["path"]
    assert first["index_sha256"] != second["index_sha256"]


def test_many_lines_make_many_small_windows(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "queries.jsonl", [{"text": f"query {number}"} for number in range(3000)])
    windows = open_source(SourceConfig("folder", path=str(tmp_path))).windows()
    assert len(windows) == 12
    assert max(len(pickle.dumps(window)) for window in windows) < 1000
    rows = [row for window in windows for row in window.rows()]
    assert [row.text for row in rows] == [f"query {number}" for number in range(3000)]
    assert [row.index for row in rows] == list(range(3000))


LINES = st.lists(st.sampled_from([b"", b" ", b"a", b"bb\r", b"\xff", b"x" * 40]), max_size=40)


@settings(max_examples=200, deadline=None)
@given(LINES, st.booleans(), st.integers(1, 7), st.integers(1, 60))
def test_spans_cover_every_line_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: bool, window_rows: int, window_bytes: int
) -> None:
    """For any lines and any window size: the spans, opened one by one, give all rows, in order, with their numbers."""
    import io

    data = b"\n".join(lines) + (b"\n" if ends and lines else b"")
    expected = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    spans = scan_rows(read_lines(io.BytesIO(data)), window_rows, window_bytes)
    found = []
    for span in spans:
        file = io.BytesIO(data)
        file.seek(span.start)
        part = [line for line in read_lines(file, span.end, span.first_line) if line.raw is None or line.raw.strip()]
        assert len(part) == span.rows
        found += [(line.number, (line.raw or b"").removesuffix(b"\n")) for line in part]
    assert found == expected


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(st.lists(CELL, min_size=1, max_size=30))
def test_csv_windows_give_every_record_once(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Also records with line ends and quotes inside, which no split at line ends may cut."""
    import csv

    from engine.sources.folder import Index, LineWindow
    from engine.sources.lines import csv_records, open_text

    path = tmp_path_factory.mktemp("csv") / "q.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["text"], *([text] for text in texts)])
    with open_text(path) as binary:
        lines = read_lines(binary)
        next(lines)
        spans = scan_rows((line for line, _ in csv_records(lines)), window_rows=3)
    index = Index(str(path), path.stat().st_size, "", (), ("text",))
    assert [row.text for span in spans for row in LineWindow(index, span).rows()] == texts
