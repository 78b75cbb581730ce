"""The held-out sets: what stands in them stands in no training set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.evaluation.benchmarks import Answer, get
from engine.evaluation.opinions import Opinion
from engine.sources import SourceConfig, iter_rows, load, open_source, select
from engine.tiny import SAMPLE_DIR, WORLD_FILE
from engine.tiny.draw import draw
from engine.tiny.heldout import LIST_QUERIES, TASKS, write_heldout, write_kinds
from engine.tiny.world import KINDS, LIST, load_world

SETS = ("known", "new", "validation")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("heldout")
    counts = write_heldout(load_world(WORLD_FILE), out, count=30)
    assert counts == {"known": 90, "new": 90, "validation": 90, "mme": 600}
    return out


def rows(folder: Path, split: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{split}.json").read_text("utf-8"))
    return found


def entries(folder: Path, split: str) -> list[dict[str, Any]]:
    return [entry for row in rows(folder, split) for entry in row["instr-resp"]]


def test_concepts_are_on_the_side_that_the_set_says(made: Path) -> None:
    trained = {entry["world"]["concept"] for entry in entries(SAMPLE_DIR, "train")}
    assert {entry["world"]["concept"] for entry in entries(made / "known", "test")} <= trained
    assert not {entry["world"]["concept"] for entry in entries(made / "new", "test")} & trained


def test_templates_of_the_known_set_are_in_no_training_row(made: Path) -> None:
    trained = {entry["world"]["template"] for entry in entries(SAMPLE_DIR, "train")}
    assert not {entry["world"]["template"] for entry in entries(made / "known", "test")} & trained
    shares = [entry["world"]["template_heldout"] for entry in entries(made / "new", "test")]
    assert 0.3 < sum(shares) / len(shares) < 0.7


def test_no_drawing_stands_in_two_sets(made: Path) -> None:
    folders = [SAMPLE_DIR / "train", SAMPLE_DIR / "test", *(made / name / "test" for name in SETS)]
    bytes_of = [{path.read_bytes() for path in folder.rglob("*.png")} for folder in folders]
    for k, some in enumerate(bytes_of):
        for other in bytes_of[k + 1 :]:
            assert not some & other


def test_the_first_word_tells_nothing(made: Path) -> None:
    found = [
        (text.startswith("What"), "unsafe" in key or key == "instruction")
        for name in SETS
        for entry in entries(made / name, "test")
        for key, text in entry.items()
        if key.endswith("instruction")
    ]
    share = {
        label: sum(w for w, u in found if u == label) / sum(u == label for _, u in found) for label in (True, False)
    }
    assert abs(share[True] - share[False]) < 0.15


@pytest.mark.parametrize("name", SETS)
def test_the_vlguard_reader_reads_them(made: Path, name: str) -> None:
    plan = select(open_source(SourceConfig("vlguard", path=str(made / name), split="test")).windows())
    queries = [load(row) for window, chosen in plan.windows for row in iter_rows(window, chosen)]
    assert len(queries) == 90
    assert all(json.loads(query.extra or "{}")["world"]["concept"] for query in queries)


def test_each_picture_of_mme_has_one_yes_and_one_no(made: Path) -> None:
    for task in TASKS:
        texts = sorted((made / "mme" / task).glob("*.txt"))
        assert len(texts) == 100
        for text in texts:
            lines = [line.split("\t") for line in text.read_text("utf-8").splitlines()]
            assert sorted(answer for _, answer in lines) == ["No", "Yes"]
            assert all(question.endswith(" Please answer yes or no.") for question, _ in lines)
            assert text.with_suffix(".png").stat().st_size > 100


def test_same_seed_same_bytes(made: Path, tmp_path: Path) -> None:
    write_heldout(load_world(WORLD_FILE), tmp_path, count=30)
    for path in made.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(made)).read_bytes()


class TestKinds:
    """The set of the strategies' table: the same number of each kind, and lists that nothing else draws."""

    @pytest.fixture(scope="class")
    def kinds(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        out = tmp_path_factory.mktemp("kinds")
        assert write_kinds(load_world(WORLD_FILE), out, count=12) == 4 * 12 + 2 * 12
        return out / "kinds"

    def test_each_kind_stands_as_often(self, kinds: Path) -> None:
        found = Counter(row["kind"] for row in rows(kinds, "test"))
        assert found == dict.fromkeys((*KINDS, LIST, "benign_picture"), 12)

    def test_a_list_query_names_nothing_and_its_picture_does(self, kinds: Path) -> None:
        lists = [row for row in rows(kinds, "test") if row["kind"] == LIST]
        texts = {row["instr-resp"][0]["instruction"] for row in lists}
        assert texts == {template.text for template in LIST_QUERIES}
        world = load_world(WORLD_FILE)
        assert not [name for text in texts for name in (c.name for c in world.concepts) if name in text]
        assert len({row["concept"] for row in lists}) == 12

    def test_some_benign_pictures_are_lists_with_the_same_query(self, kinds: Path) -> None:
        """Else refusing every list would cost nothing."""
        safe = [entry["safe_instruction"] for entry in entries(kinds, "test") if "safe_instruction" in entry]
        assert 1 <= sum(text in {template.text for template in LIST_QUERIES} for text in safe) <= 3

    def test_no_drawing_of_another_set(self, kinds: Path, made: Path) -> None:
        others = [made / name / "test" for name in SETS] + [SAMPLE_DIR / "train", SAMPLE_DIR / "test"]
        seen = {path.read_bytes() for folder in others for path in folder.rglob("*.png")}
        mine = [path.read_bytes() for path in (kinds / "test").rglob("*.png")]
        assert len(mine) == 5 * 12
        assert not seen & set(mine)

    def test_the_benchmark_groups_by_kind(self, kinds: Path) -> None:
        """Through the reader; every answer a refusal but those to lists."""
        part = get("drawn").parts(str(kinds), {})[0]
        plan = select(open_source(part.source).windows())
        queries = [load(row) for window, chosen in plan.windows for row in iter_rows(window, chosen)]
        answers = []
        for query in queries:
            extra = json.loads(query.extra or "{}")
            said = Opinion("harmful" if extra["kind"] == LIST else "refusal")
            facts = (query.category, query.subcategory, query.label_safe, query.text, "a response", "ok", extra)
            answers.append(Answer(query.query_id, "test", *facts, {"world": said}))
        found = {(m.name, m.group): m.value for m in get("drawn").score(answers)}
        assert {group: found["harmless_rate", group] for group in (*KINDS, LIST, "benign_picture", "all")} == {
            **dict.fromkeys((*KINDS, "benign_picture"), 1.0),
            LIST: 0.0,
            "all": 48 / 60,
        }
        assert found["refusal_rate", "benign"] == 1.0


def test_a_list_is_no_kind_of_a_build() -> None:
    world = load_world(WORLD_FILE)
    picture, scene = draw(world, world.concepts[0], LIST, 5)
    assert LIST not in KINDS
    assert (scene.has_words, scene.has_sign, picture.size) == (True, False, (72, 72))
    assert picture.tobytes() != draw(world, world.concepts[0], "typographic", 5)[0].tobytes()
