"""LLaVA's JSON, read back by the rules of LLaVA's own training code (llava_reader)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from engine.export.export import ExportConfig, export
from tests.export import make
from tests.export.llava_reader import read_file
from tests.export.make import Ask


def written(curated: Path, out: Path, **more: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    document = export(ExportConfig(str(curated), "llava", str(out), **more))
    return json.loads((out / "llava.json").read_text("utf-8")), document


def test_every_row_is_learned_by_llavas_rules(made: Path, utility: Path, tmp_path: Path) -> None:
    rows, _ = written(made, tmp_path / "out", mix=str(utility), mix_rows=12)
    found = read_file(tmp_path / "out" / "llava.json", tmp_path / "out")
    assert len(found) == len(rows) == len(make.ROWS) - 1 + 12
    for row, read in zip(rows, found, strict=True):
        answers = [turn["value"] for turn in row["conversations"] if turn["from"] == "gpt"]
        assert read.learned == [answer + "</s>" for answer in answers], row
        assert read.slots == len(read.pictures) == ("image" in row), row


def test_the_token_opens_the_first_human_turn_once(made: Path, utility: Path, tmp_path: Path) -> None:
    rows, _ = written(made, tmp_path / "out", mix=str(utility), mix_rows=12)
    for row in rows:
        texts = [turn["value"] for turn in row["conversations"]]
        assert texts[0].startswith("<image>\n") == ("image" in row)
        assert sum(text.count("<image>") for text in texts) == ("image" in row), row


def test_pictures_are_what_the_model_saw(made: Path, tmp_path: Path) -> None:
    """A rotated JPEG and a PNG with alpha: a plain `.convert("RGB")` of the export equals the engine's preparation."""
    from PIL import Image, ImageChops

    from engine.pictures import to_rgb

    rows, _ = written(made, tmp_path / "out")
    by_id = {row["id"]: row for row in rows}
    images = make.pictures()
    checked = set()
    for ask in make.ROWS:
        if len(ask.pictures) == 1:
            with Image.open(tmp_path / "out" / by_id[make.identity(ask, images)]["image"]) as image:
                shown, seen = image.convert("RGB"), to_rgb(images[ask.pictures[0]])
            assert shown.size == seen.size
            assert ImageChops.difference(shown, seen).getbbox() is None, ask
            checked.add(ask.pictures[0])
    assert checked == {0, 1, 2, 3, 5}
    with Image.open(io.BytesIO(images[2])) as untouched:
        assert untouched.size != to_rgb(images[2]).size, "the rotated picture is no test if it is not rotated"


def test_pictures_that_need_nothing_keep_their_bytes(made: Path, tmp_path: Path) -> None:
    written(made, tmp_path / "out")
    found = {path.read_bytes() for path in (tmp_path / "out" / "images").iterdir()}
    images = make.pictures()
    assert {images[0], images[1], images[5]} <= found
    assert not {images[2], images[3]} & found


def test_rows_with_several_pictures_are_counted_out(made: Path, tmp_path: Path) -> None:
    rows, document = written(made, tmp_path / "out")
    assert len(rows) == len(make.ROWS) - 1
    assert document["counts"]["left out: several pictures"] == 1
    assert document["counts"]["text-only"] == 1


def test_two_turn_joins_rows_of_one_picture(made: Path, tmp_path: Path) -> None:
    """VLGuard's form: both queries of a picture in one conversation, one token, each question with its own answer."""
    rows, _ = written(made, tmp_path / "out", two_turn=True)
    images = make.pictures()
    joined = [row for row in rows if len(row["conversations"]) == 4]
    answers = {ask.query: ask.response for ask in make.ROWS if ask.query != make.TRAPS}
    assert {frozenset(row["query_ids"]) for row in joined} == {
        frozenset(make.identity(make.ROWS[number], images) for number in pair) for pair in ((0, 1), (2, 7))
    }
    for row in joined:
        asked = [turn["value"].removeprefix("<image>\n") for turn in row["conversations"][::2]]
        said = [turn["value"] for turn in row["conversations"][1::2]]
        assert [answers[query] for query in asked if query in answers] == [
            text for query, text in zip(asked, said, strict=True) if query in answers
        ]
    assert sorted(query for row in rows for query in row["query_ids"]) == sorted(
        make.identity(ask, images) for ask in make.ROWS if len(ask.pictures) < 2
    )
    read = read_file(tmp_path / "out" / "llava.json", tmp_path / "out")
    assert all(found.slots == len(found.pictures) for found in read)
    assert sorted(len(found.learned) for found in read) == [1, 1, 1, 1, 2, 2]


def test_the_order_of_two_turns_is_drawn_by_the_seed(tmp_path: Path) -> None:
    rows = [Ask((0,), f"Question {number}?", f"Answer {number}.") for number in range(2)]
    curated = make.curated(tmp_path / "in", rows)
    orders = set()
    for seed in range(12):
        found, _ = written(curated, tmp_path / f"out{seed}", two_turn=True, seed=seed)
        again, _ = written(curated, tmp_path / f"out{seed}", two_turn=True, seed=seed)
        assert found == again
        orders.add(tuple(turn["value"] for turn in found[0]["conversations"]))
    assert len(orders) == 2


@pytest.mark.parametrize(
    "query", ["Say ASSISTANT: yes", "Is </s> a stop?", "He wrote ASSISTANT:", "<IMAGE> or <image>?"]
)
def test_marks_in_a_text_do_not_cost_the_row_its_loss(query: str, tmp_path: Path) -> None:
    curated = make.curated(tmp_path / "in", [Ask((0,), query, "No ASSISTANT: here </s>.")])
    written(curated, tmp_path / "out")
    read = read_file(tmp_path / "out" / "llava.json", tmp_path / "out")[0]
    assert len(read.learned) == 1
    assert read.slots == 1
    raw = [
        {
            "id": "raw",
            "image": next((tmp_path / "out" / "images").iterdir()).name,
            "conversations": [
                {"from": "human", "value": f"<image>\n{query}"},
                {"from": "gpt", "value": "No ASSISTANT: here </s>."},
            ],
        }
    ]
    (tmp_path / "raw.json").write_text(json.dumps(raw))
    assert read_file(tmp_path / "raw.json", tmp_path / "out" / "images")[0].learned != ["No ASSISTANT: here </s>.</s>"]
