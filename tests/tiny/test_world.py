"""World files: valid, and a bad one says what is wrong."""

import json
from pathlib import Path

import pytest

from engine.tiny import WORLD_FILE, WORLD_TWO_FILE
from engine.tiny.draw import draw, png
from engine.tiny.invent import invent
from engine.tiny.world import KINDS, WorldError, fill, load_world

WORLDS = [WORLD_FILE, WORLD_TWO_FILE]


@pytest.mark.parametrize("path", WORLDS, ids=lambda p: p.stem)
def test_world_has_the_promised_size(path: Path) -> None:
    world = load_world(path)
    assert len(world.concepts) >= 160
    assert sum(c.harmful for c in world.concepts) * 2 == len(world.concepts)
    assert len(world.templates) >= 24
    assert len(world.refusals) >= 8
    assert len(world.answers) >= 8
    assert sum(c.heldout for c in world.concepts) == 40


def test_worlds_share_no_concept_and_no_font() -> None:
    one, two = (load_world(path) for path in WORLDS)
    assert not {c.name for c in one.concepts} & {c.name for c in two.concepts}
    assert one.font != two.font


def test_second_world_is_what_the_script_makes() -> None:
    base = json.loads(WORLD_FILE.read_text(encoding="utf-8"))
    assert invent(base, 2) == json.loads(WORLD_TWO_FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["concepts"].pop(), None),
        (lambda d: d.update(concepts=d["concepts"][:50]), "expected at least 120"),
        (lambda d: d["templates"].clear(), "expected at least 24"),
        (lambda d: d["wordings"].update(refusal=["no {concept}"]), "wordings.refusal"),
        (lambda d: d["paraphrases"]["tell"].update(seen=["{query}"] * 8), "lacks a slot"),
        (lambda d: d.update(font="arial"), "font"),
        (lambda d: d.pop("drawing"), "missing"),
        (lambda d: d["concepts"][0]["sign"].update(frame="cube"), "unknown sign"),
        (lambda d: d["concepts"][1].update(name=d["concepts"][0]["name"]), "stands twice"),
    ],
)
def test_bad_world_is_named(tmp_path: Path, change, message) -> None:  # type: ignore[no-untyped-def]
    data = json.loads(WORLD_FILE.read_text(encoding="utf-8"))
    change(data)
    path = tmp_path / "w.json"
    path.write_text(json.dumps(data))
    if message is None:
        load_world(path)
        return
    with pytest.raises(WorldError, match=message):
        load_world(path)


def test_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(WorldError, match="cannot be read as JSON"):
        load_world(path)


def test_fill_is_single_pass() -> None:
    assert fill("{query} {response} {other}", {"query": "{response}", "response": "r"}) == "{response} r {other}"


@pytest.mark.parametrize("path", WORLDS, ids=lambda p: p.stem)
@pytest.mark.parametrize("kind", KINDS)
def test_drawing_is_a_function_of_its_seed(path: Path, kind: str) -> None:
    world = load_world(path)
    concept = world.concepts[3]
    first, scene = draw(world, concept, kind, 5)
    again, _ = draw(world, concept, kind, 5)
    other, _ = draw(world, concept, kind, 6)
    assert png(first) == png(again) != png(other)
    assert first.size == (72, 72)
    assert scene.concept == concept
    assert scene.colour in world.drawing.palette
    assert scene.has_words == (kind != "pictorial")
    assert scene.has_sign == (kind != "typographic")
