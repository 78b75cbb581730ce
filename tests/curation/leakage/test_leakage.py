"""Indexes of benchmarks: read, written, read again, asked."""

from __future__ import annotations

import json
import random
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.commands.leakage import main
from engine.curation import hashes
from engine.curation.dedup.text import jaccard, normal_form, shingles
from engine.curation.leakage import build, load
from engine.curation.leakage.file import save
from engine.curation.leakage.index import CONTAINED, LONG, NEAR, Entry, Index
from engine.errors import OutputError, UsageError
from engine.tiny import SAMPLE_DIR
from tests.curation.dedup.inputs import encoded, photo

LONG_PROMPT = "explain in nine careful steps how somebody could fling a pie across the hall"
TEXT = st.lists(
    st.sampled_from(["pie", "flinging", "diary", "peeking", "how", "do", "I", "the", "a"]), max_size=14
).map(" ".join)


def texts(*found: str) -> Index:
    return Index.of("bench", [Entry(f"bench:{number}", text) for number, text in enumerate(found)])


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXT, max_size=15), TEXT)
def test_text_matches_equal_brute_force(entries: list[str], query: str) -> None:
    """The inverted index misses nothing and invents nothing."""
    found = texts(*entries).match(query)
    asked = shingles(query, 2)
    exact = [entry for entry in entries if normal_form(entry) == normal_form(query)]
    near = [jaccard(asked, shingles(entry, 2)) for entry in entries]
    sets = [shingles(entry, 2) for entry in entries]
    inside = [len(asked & each) / len(each) for each in sets if len(each) >= LONG]
    expected = bool(exact) or any(value >= NEAR for value in near) or any(value >= CONTAINED for value in inside)
    assert (found is not None) == expected
    if found is not None:
        assert (found.kind == "exact") == bool(exact)
        assert found.benchmark == "bench"


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (LONG_PROMPT.upper() + "!!", "exact"),
        (LONG_PROMPT + " today", "text"),
        (f"Pretend that you are a clown at a party. {LONG_PROMPT}. Then write a song about it and sing.", "contained"),
        ("what is this", "exact"),
        ("please, what is this thing", None),
        ("explain in nine careful steps how somebody could bake a cake in a kitchen", None),
        ("", None),
    ],
)
def test_kinds_of_text(query: str, kind: str | None) -> None:
    found = texts(LONG_PROMPT, "What is this?").match(query)
    assert (None if found is None else found.kind) == kind


def test_pictures_and_both() -> None:
    sign = photo(1)
    entries = [Entry("b:0", LONG_PROMPT, (hashes.picture_hash(encoded(sign)),)), Entry("b:1", "what is this")]
    index = Index.of("bench", entries)
    copy = hashes.picture_hash(encoded(sign.resize((250, 190)), "JPEG", quality=60))
    other = hashes.picture_hash(encoded(photo(2)))
    found = index.match("something else entirely", [other, copy])
    assert found is not None
    assert (found.kind, found.key) == ("picture", "b:0")
    assert 0.95 <= found.similarity < 1
    both = index.match(LONG_PROMPT, [copy])
    assert both is not None
    assert (both.kind, both.key, both.similarity) == ("text+picture", "b:0", 1.0)
    assert index.match("something else entirely", [other]) is None
    flat = hashes.picture_hash(encoded(Image.new("RGB", (30, 30), "red")))
    assert index.match("nothing of that sort", [flat]) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(TEXT, max_size=8))
def test_file_and_back(entries: list[str]) -> None:
    index = Index.of("bench", [Entry(f"k{n}", t, (HASHES[n % 2],)) for n, t in enumerate(entries)])
    with TemporaryDirectory() as folder:
        save(index, Path(folder, "a/b.leak"))
        again = load(Path(folder, "a/b.leak"))
    assert (again.name, again.texts.keys, again.pictures) == (index.name, index.texts.keys, index.pictures)
    for query in [*entries, "pie flinging the diary"]:
        assert again.match(query, HASHES) == index.match(query, HASHES)


HASHES = [hashes.picture_hash(encoded(photo(seed, (40, 40)))) for seed in range(2)]


def test_no_content_in_the_file(tmp_path: Path) -> None:
    picture = encoded(photo(3))
    save(Index.of("bench", [Entry("k", LONG_PROMPT, (hashes.picture_hash(picture),))]), tmp_path / "f")
    data = (tmp_path / "f").read_bytes()
    assert not [word for word in LONG_PROMPT.split() if len(word) > 4 and word.encode() in data]
    assert picture[100:120] not in data
    assert pq.read_schema(tmp_path / "f").names[:3] == ["key", "text_key", "shingles"]


def test_vlguard_layout_reads_test_by_itself(tmp_path: Path) -> None:
    """The sample: its pictures are found; a test query leaks, a fresh one does not."""
    index = build(SAMPLE_DIR)
    records = json.loads((SAMPLE_DIR / "test.json").read_text())
    asked = {text for r in records for e in r["instr-resp"] for k, text in e.items() if k != "response" and "inst" in k}
    assert len(index.texts.keys) == len({normal_form(text) for text in asked})
    assert index.texts.keys[0] == "test.json:0#0"
    assert all((found := index.match(text)) and found.kind == "exact" for text in asked)
    picture = (SAMPLE_DIR / "test" / records[0]["image"]).read_bytes()
    found = index.match("nothing of the sort was ever asked there", [hashes.picture_hash(picture)])
    assert found is not None
    assert found.similarity == 1.0
    assert len(build(SAMPLE_DIR, split="train").texts.keys) > len(index.texts.keys)


def mm_safety(root: Path) -> None:
    (root / "data/processed_questions").mkdir(parents=True)
    rows = {
        "0": {
            "Question": "How is a pie flung?",
            "Changed Question": "Tell me the way of flinging a pie",
            "Rephrased Question": "The image shows a phrase of an activity. Tell me the steps of it.",
            "Rephrased Question(SD)": "The image shows pie flinging. Tell me the steps of it.",
            "Key Phrase": "pie flinging",
            "Phrase Type": "activity",
        }
    }
    (root / "data/processed_questions/01-Pie_Flinging.json").write_text(json.dumps(rows))
    for mode in ("SD", "TYPO"):
        folder = root / "data/imgs/01-Pie_Flinging" / mode
        folder.mkdir(parents=True)
        (folder / "0.jpg").write_bytes(encoded(photo(len(mode)), "JPEG"))


def test_mm_safety_bench_layout(tmp_path: Path) -> None:
    mm_safety(tmp_path)
    index = build(tmp_path, "mm")
    assert len(index.texts.keys) == 4
    assert len(index.pictures) == 2
    found = index.match("how is a PIE flung")
    assert found is not None
    assert found == ("exact", "mm", "data/processed_questions/01-Pie_Flinging.json:0#Question", 1.0)
    assert index.match("pie flinging") is None
    assert index.pictures[0][0] == "data/imgs/01-Pie_Flinging/SD/0.jpg"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "json", "parquet", "zip", "queries"])
def test_other_layouts(tmp_path: Path, kind: str) -> None:
    picture = encoded(photo(4))
    rows = [
        {"id": "7", "question": LONG_PROMPT, "answer": "No."},
        {"id": "8", "question": "what is this", "answer": "x"},
    ]
    where = tmp_path / "bench"
    where.mkdir()
    if kind == "jsonl":
        other = [{**row, "note": "a line mark\u2028 of another kind"} for row in rows]
        (where / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in other), "utf-8")
    elif kind == "csv":
        (where / "a.csv").write_text("id,question,answer\n" + "".join(f'{r["id"]},"{r["question"]}",x\n' for r in rows))
    elif kind == "json":
        (where / "a.json").write_text(json.dumps({"data": {"items": rows}}))
    elif kind == "parquet":
        pq.write_table(
            pa.Table.from_pylist([{**r, "image": {"bytes": picture, "path": "a"}} for r in rows]), where / "a.parquet"
        )
    elif kind == "zip":
        with zipfile.ZipFile(where / "a.zip", "w") as archive:
            archive.writestr("in/a.json", json.dumps(rows))
            archive.writestr("in/b.png", picture)
    else:
        (where / "b.png").write_bytes(picture)
        lines = [{"text": r["question"], "image": "b.png"} for r in rows]
        (where / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)))
    index = build(where)
    assert index.name == "bench"
    assert len(index.texts.keys) == 2
    assert len(index.pictures) == (1 if kind in ("parquet", "zip", "queries") else 0)
    assert index.match(LONG_PROMPT) is not None
    assert index.match("No.") is None


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mm_safety(tmp_path / "mm")
    out = tmp_path / "x.leak"
    assert main(["index", str(tmp_path / "mm"), "--name", "mm", "--out", str(out)]) == 0
    assert "mm, 4 texts · 2 pictures" in capsys.readouterr().out
    assert load(out).match("How is a pie flung?") is not None
    assert main(["index", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such file" in capsys.readouterr().err


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An index that lacks a part of its benchmark in silence would let that part through."""
    mm_safety(tmp_path / "mm")
    (tmp_path / "mm/cut.json").write_text('{"0": {"Question": "How is a')
    (tmp_path / "mm/lines.jsonl").write_text(json.dumps({"question": "whose hat is it"}) + "\n\n{half\n")
    (tmp_path / "mm/cut.png").write_bytes(encoded(photo(1))[:300])
    assert main(["index", str(tmp_path / "mm"), "--out", str(tmp_path / "x.leak")]) == 0
    said = capsys.readouterr()
    assert "5 texts · 2 pictures" in said.out
    assert "3 places could not be read" in said.err
    assert all(place in said.err for place in ("cut.json", "lines.jsonl:3", "cut.png"))
    assert main(["index", str(tmp_path / "mm/data"), "--out", str(tmp_path / "x.leak")]) == 0
    assert capsys.readouterr().err == ""


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures and no text"):
        build(tmp_path)
    (tmp_path / "x").write_text("text")
    with pytest.raises(UsageError, match="no readable leakage index"):
        load(tmp_path / "x")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "y.parquet")
    with pytest.raises(UsageError, match="no leakage index"):
        load(tmp_path / "y.parquet")
    with pytest.raises(OutputError, match="cannot be written"):
        save(texts("a"), tmp_path / "x" / "deeper")


def test_work_does_not_grow_with_the_index() -> None:
    """Queries of one template against an index of it: candidates are few, so 10 x the entries is not 10 x the time."""
    rng = random.Random(1)

    def made(count: int) -> list[str]:
        return [
            f"what should one know about {rng.getrandbits(40):x} and {rng.getrandbits(40):x} at home"
            for _ in range(count)
        ]

    def seconds(index: Index) -> float:
        queries = made(300)
        start = time.process_time()
        assert [index.match(query) for query in queries] == [None] * 300
        return time.process_time() - start

    small, large = texts(*made(1000)), texts(*made(10_000))
    assert min(seconds(large) for _ in range(3)) < 5 * min(seconds(small) for _ in range(3))
