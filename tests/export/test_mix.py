"""Utility rows: which are chosen, what is left out and named, and that they stay marked and apart."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.export.export import ExportConfig, export, summary
from engine.export.mix import choose
from engine.export.mix_form import FormError, shape
from engine.export.mix_source import CHUNK, MixSource
from tests.export import make


def chat(question: str, answer: str = "Yes.", image: str | None = "train/0.png", **more: Any) -> dict[str, Any]:
    said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return ({"image": image} if image else {}) | {"conversations": said} | more


def questions(path: str | Path, rows: int, seed: int = 0) -> list[str]:
    return [row.turns[0].text for row in choose(str(path), rows, seed, set()).rows()]


def test_the_choice_is_by_seed_and_not_by_order(tmp_path: Path) -> None:
    entries = make.utility(60)
    first = make.llava_mix(tmp_path / "a", entries)
    turned = make.llava_mix(tmp_path / "b", entries[::-1])
    assert questions(first, 10) == questions(first, 10) == questions(turned, 10)
    assert len(set(questions(first, 10))) == 10
    assert questions(first, 10, seed=1) != questions(first, 10)
    assert questions(first, 10) == questions(first, 25)[:10], "a larger N holds the smaller one"


def test_rows_of_the_set_are_left_out(tmp_path: Path) -> None:
    """Same text and picture: left out. Same text, other picture, and the other way round: kept."""
    ask = make.ROWS[0]
    entries = [
        chat(f"<image>\n{ask.query}"),
        chat(f"<image>\n{ask.query}", image="train/4.png"),
        chat("<image>\nOther?"),
    ]
    path = make.llava_mix(tmp_path / "mix", entries)
    curated = make.curated(tmp_path / "in")
    document = export(ExportConfig(str(curated), "llava", str(tmp_path / "out"), mix=str(path), mix_rows=3))
    assert document["mix"]["rows"] == 2
    assert document["mix"]["duplicates"] == 1
    rows = json.loads((tmp_path / "out/llava.json").read_text())
    kept = [row for row in rows if row["id"].startswith("mix/")]
    assert {row["conversations"][0]["value"] for row in kept} == {f"<image>\n{ask.query}", "<image>\nOther?"}
    assert "2 of 3 rows asked for" in "\n".join(summary(document))


def test_a_later_turn_of_the_set_counts_too(tmp_path: Path) -> None:
    ask = make.ROWS[0]
    entry = chat("<image>\nFirst?")
    entry["conversations"] += [{"from": "human", "value": ask.query}, {"from": "gpt", "value": "Yes."}]
    path = make.llava_mix(tmp_path / "mix", [entry, chat("<image>\nFree?")])
    taken = {bytes.fromhex(make.identity(row, make.pictures())) for row in make.ROWS}
    assert [row.turns[0].text for row in choose(str(path), 2, 0, taken).rows()] == ["Free?"]


def test_repeated_rows_are_taken_once(tmp_path: Path) -> None:
    path = make.llava_mix(tmp_path, [chat("<image>\nA?"), chat("<image>\nA?"), chat("B?\n<image>")])
    found = choose(str(path), 3, 0, set())
    assert (len(found.chosen), found.duplicates, found.read) == (2, 1, 3)


BAD: list[tuple[Any, str]] = [
    (["a list"], "found list"),
    ({"image": "train/0.png"}, "no conversations"),
    ({"conversations": []}, "by nobody"),
    (chat("<image>\nA?") | {"image": 7}, "a picture is int"),
    ({"conversations": [{"from": "gpt", "value": "Yes."}]}, "user first"),
    ({"conversations": [{"from": "human", "value": "A?"}]}, "user first"),
    ({"conversations": [{"from": "narrator", "value": "A?"}]}, "'narrator'"),
    (chat("<image>\n<image>\nA?"), "2 <image> tokens, 1 pictures"),
    (chat("<image>\nA?", image=None), "1 <image> tokens, 0 pictures"),
    (chat("<image>\n"), "turn 1 has no text"),
    (chat("<image>\nA?", answer=" "), "turn 2 has no text"),
    (chat("<image>\nA?", image="train/none.png"), "not found"),
    (chat("<image>\nA?", image="../secret.png"), "leaves the folder"),
    (chat("<image>\nA?", image="/etc/hostname"), "leaves the folder"),
    (chat("<image>\nA?", image="broken.png"), "found 5 bytes"),
    (chat("<image>\nA?", answer=None), "NoneType"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("entry", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_rows_are_named_and_the_rest_is_used(entry: Any, words: str, tmp_path: Path) -> None:
    path = make.llava_mix(tmp_path, [chat("<image>\nGood?"), entry])
    (tmp_path / "broken.png").write_bytes(b"hello")
    found = choose(str(path), 5, 0, set())
    assert [row.turns[0].text for row in found.chosen] == ["Good?"]
    assert found.bad_rows == 1
    assert found.bad[0].startswith("instruct.json row 2: ")
    assert words in found.bad[0]


def test_a_set_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    path = make.llava_mix(tmp_path, [chat("<image>\nA?", image="train/none.png")])
    with pytest.raises(UsageError, match=r"no usable row among 1 .*row 1: picture train/none.png: not found"):
        choose(str(path), 1, 0, set())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b'{"a": 1}', "expected a JSON list"),
        ("a.json", b'[{"a": 1}, {"b": ', "broken JSON"),
        ("a.json", b'[{"a": "\xff"}]', "not UTF-8"),
        ("a.json", b"", "expected a JSON list"),
        ("a.jsonl", b'{"a": 1}\n{"b"', "line 2: broken JSON"),
        ("a.parquet", b"no parquet", "no Parquet file"),
        ("a.csv", b"a,b", "ending, expected"),
    ],
)
def test_files_that_are_none_are_refused(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=words):
        choose(str(tmp_path / name), 1, 0, set())
    with pytest.raises(UsageError, match="not there"):
        choose(str(tmp_path / "missing.json"), 1, 0, set())


def test_parquet_with_embedded_pictures(made: Path, tmp_path: Path) -> None:
    """`images` as {bytes, path} and messages with parts, as TRL and the Hub store them."""
    images = make.pictures()
    rows = [
        {
            "images": [{"bytes": images[number], "path": None}] if number < 5 else [],
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "text": None}, {"type": "text", "text": f"Ask {number}?"}],
                },
                {"role": "assistant", "content": [{"type": "text", "text": f"Say {number}."}]},
            ],
        }
        for number in range(6)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mix.parquet")
    for path in (tmp_path / "mix.parquet", tmp_path):
        mix = choose(str(path), 6, 0, set())
        assert all(picture.data is None for row in mix.chosen for picture in row.pictures), "pictures held in memory"
        found = {row.turns[0].text: row.images for row in mix.rows()}
        assert found == {f"Ask {number}?": (images[number],) if number < 5 else () for number in range(6)}


def test_an_export_can_be_mixed_into_another(made: Path, tmp_path: Path) -> None:
    """prompt + completion, as our own trl export writes them."""
    other = make.curated(tmp_path / "other", [make.Ask((2,), "Is it late?", "No."), make.ROWS[0]])
    export(ExportConfig(str(other), "trl", str(tmp_path / "trl")))
    mixed = str(tmp_path / "trl/data")
    document = export(ExportConfig(str(made), "swift", str(tmp_path / "out"), mix=mixed, mix_rows=9))
    assert (document["mix"]["rows"], document["mix"]["duplicates"]) == (1, 1)


def test_third_party_rows_are_marked_and_the_curated_set_is_untouched(utility: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    curated = make.curated(tmp_path / "in")
    before = {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(curated.rglob("*")) if path.is_file()
    }
    for name in ("trl", "trl-kto", "llava", "llamafactory", "swift"):
        export(ExportConfig(str(curated), name, str(tmp_path / name), mix=str(utility), mix_rows=7))
    after = {
        path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(curated.rglob("*")) if path.is_file()
    }
    assert after == before
    rows = load_dataset(
        "parquet", data_files=str(tmp_path / "trl/data/*"), split="train", cache_dir=str(tmp_path / "c")
    )
    marked = [row["query_id"].startswith("mix/") for row in rows]
    assert marked == [source == "mix:instruct.json" for source in rows["source"]]
    assert marked.count(True) == 7
    listed = json.loads((tmp_path / "llamafactory/sft.json").read_text())
    listed += [json.loads(line) for line in (tmp_path / "swift/sft.jsonl").read_text().splitlines()]
    assert [row["id"].startswith("mix/") for row in listed] == [row["source"].startswith("mix:") for row in listed]
    assert sum(row["id"].startswith("mix/") for row in listed) == 14


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), max_size=8), indent=st.sampled_from([None, 1])
)
def test_a_json_list_is_read_as_json_reads_it(
    rows: list[dict[str, Any]], indent: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("json") / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert [row for _, row in MixSource(str(path)).rows()] == rows


def test_a_json_list_larger_than_a_chunk(tmp_path: Path) -> None:
    rows = [{"n": number, "text": "é" * (number % 977), "nested": [{"a": "]}"}]} for number in range(6000)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert path.stat().st_size > 3 * CHUNK
    assert [row for _, row in MixSource(str(path)).rows()] == rows


@given(JSON)
def test_shaping_never_fails_with_anything_but_a_form_error(raw: Any) -> None:
    try:
        found = shape(raw)
    except FormError:
        return
    assert [turn.role for turn in found.turns] == ["user", "assistant"] * (len(found.turns) // 2)
