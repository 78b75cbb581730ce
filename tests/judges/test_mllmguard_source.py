"""MLLMGuard's folders: cells by position, pairs, two languages, and what is wrong with a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.sources import SourceConfig, open_source
from engine.sources.mllmguard import COLUMNS, DIMENSIONS, read_split
from tests.judges.make_mllmguard import CHOICE, OPEN, make, png, table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("mllmguard"))


def rows(folder: Path, split: str | None = None) -> list[Any]:
    source = open_source(SourceConfig("mllmguard", str(folder), split))
    return [row for window in source.windows() for row in window.rows()]


def test_all_dimensions_are_read(folder: Path) -> None:
    found = rows(folder)
    assert [row.problem for row in found] == [None] * len(found)
    counts = {dimension: sum(row.category == dimension for row in found) for dimension in DIMENSIONS}
    assert counts == {
        **dict.fromkeys(("privacy", "bias", "toxicity", "legality"), 2),
        "hallucination": 2,
        "noise-injection": 4,
        "position-swapping": 4,
    }
    assert len({row.key for row in found}) == len(found)
    assert all(ref.read() for row in found for ref in row.pictures)


def test_cells_stand_where_upstream_reads_them(folder: Path) -> None:
    english, chinese = rows(folder, "privacy")
    assert (english.text, chinese.text) == ("Who snubs socks? (privacy)", "谁不理袜子？（privacy）")
    assert json.loads(english.extra) == {"dimension": "privacy", "language": "en"}
    assert json.loads(chinese.extra)["language"] == "zh"
    assert (english.label_safe, english.subcategory, english.key) == (False, "socks", "privacy/prompt.csv:2#plain")
    assert english.pictures[0].name.endswith("privacy/imgs/0.png")


def test_hallucination_is_asked_twice(folder: Path) -> None:
    plain, options = rows(folder, "hallucination")
    assert plain.text == "What does the missing sock say?"
    assert options.text == "What does the missing sock say?(Please answer me with options) A. Hello B. Nothing"
    assert plain.pictures == options.pictures
    assert plain.label_safe is None


def test_noise_pairs(folder: Path) -> None:
    clean, noisy, other, other_noisy = rows(folder, "noise-injection")
    assert clean.text == noisy.text
    assert [Path(row.pictures[0].name).name for row in (clean, noisy, other, other_noisy)] == [
        "0.png",
        "0_noise.png",
        "1.png",
        "1_noise.png",
    ]
    extra = [json.loads(row.extra) for row in (clean, noisy, other)]
    assert extra[0]["pair"] == extra[1]["pair"] != extra[2]["pair"]
    assert [one["place"] for one in extra] == ["clean", "noisy", "clean"]
    assert [one["answer"] for one in extra] == ["A", "A", "B"]
    assert extra[2]["language"] == "zh"


def test_position_pairs(folder: Path) -> None:
    first, second, *_ = rows(folder, "position-swapping")
    assert first.text == second.text == "Which is the sock? A. Left B. Right"
    assert [Path(row.pictures[0].name).name for row in (first, second)] == ["0a.png", "0b.png"]
    assert [json.loads(row.extra)["place"] for row in (first, second)] == ["first", "second"]


def test_one_language(folder: Path, tmp_path: Path) -> None:
    assert {json.loads(row.extra)["language"] for row in rows(folder, "all-en")} == {"en"}
    assert [row.category for row in rows(folder, "all-zh")].count("privacy") == 1
    own = make(tmp_path / "set")
    table(own / "privacy" / "zh.csv", OPEN, [["0.png", "只有一个", "", "", "zh", "", ""]] * 3)
    assert len(rows(own, "privacy-zh")) == 3


def test_a_folder_above_is_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(folder)
    assert len(rows(tmp_path, "bias")) == 2


def test_bad_rows_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "set"
    table(
        root / "bias" / "prompt.csv",
        OPEN,
        [["0.png", "Who?", "", "", "en"], ["0.png", "short"], ["0.png", "", "", "", "en"]],
    )
    png(root / "bias" / "imgs" / "0.png", 1)
    good, short, empty = rows(root)
    assert good.problem is None
    assert "found 2 fields, expected at least 5" in short.problem
    assert "the query is empty" in empty.problem


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("privacy-fr", "expected one of all, privacy"),
        ("honesty", "expected one of all, privacy"),
        ("noise", "noise-injection"),
    ],
)
def test_unknown_splits(folder: Path, split: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows(folder, split)


def test_splits_with_hyphens() -> None:
    assert read_split("noise-injection") == (("noise-injection",), None)
    assert read_split("noise-injection-zh") == (("noise-injection",), "zh")
    assert read_split("all-en") == (DIMENSIONS, "en")


def test_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no --path given"):
        open_source(SourceConfig("mllmguard"))
    with pytest.raises(UsageError, match=r"expected privacy/prompt.csv, bias/prompt.csv"):
        rows(tmp_path)
    table(tmp_path / "hallucination" / "prompt.csv", CHOICE[:3], [])
    with pytest.raises(UsageError, match="found 3 columns, expected at least 6"):
        rows(tmp_path)
    assert COLUMNS["hallucination"].width == 6
