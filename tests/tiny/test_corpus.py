"""Queries of a build: stirred and spliced ones stay queries about the same thing, and never are a held-out template."""

import random
import re
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tiny import WORLD_FILE, WORLD_TWO_FILE
from engine.tiny.corpus import MIX, STIRRED_MIX, Corpus, Spoon, strays, tokenizer_texts
from engine.tiny.draw import Scene, draw
from engine.tiny.model import Shape, make_tokenizer
from engine.tiny.world import KINDS, World, fill, load_world

WORLD = load_world(WORLD_FILE)


def templates(world: World, about: str, heldout: bool = False) -> list[str]:
    return [template.text for template in world.templates_of(about, heldout)]


@given(st.integers(), st.sampled_from(["text", "picture"]), st.data())
def test_a_splice_opens_as_one_query_and_ends_as_the_other(seed: int, about: str, data: st.DataObject) -> None:
    texts = st.sampled_from(templates(WORLD, about))
    opening, rest = data.draw(texts), data.draw(texts)
    made = Spoon(WORLD, random.Random(seed)).splice(opening, rest)
    assert made.count("{concept}") == rest.count("{concept}")
    assert made.split(" ")[0] in (opening.split(" ")[0], *rest.split(" "))
    assert rest.endswith(" ".join(made.split(" ")[-3:])) or "{concept}" in rest
    assert rest.endswith(made.split(" ")[-1])


@pytest.mark.parametrize("path", [WORLD_FILE, WORLD_TWO_FILE], ids=lambda path: path.stem)
def test_no_query_of_a_build_is_a_held_out_one(path: Path) -> None:
    world = load_world(path)
    corpus = Corpus(world, random.Random(5), stirred=1.0)
    unseen = {"text": templates(world, "text", heldout=True), "picture": templates(world, "picture", heldout=True)}
    changed = 0
    for number in range(4000):
        concept = corpus.concept()
        about = ("text", "picture")[number % 2]
        query = corpus.query(concept, about)
        own = {fill(text, {"concept": concept.name}) for text in unseen[about]}
        assert not any(text in query.text for text in own)
        changed += fill(query.template.text, {"concept": concept.name}) not in query.text
        assert about == "picture" or concept.name in query.text
    assert changed > 2000  # stirred, spliced or both: otherwise nothing was tried here


def test_an_unstirred_query_is_its_template() -> None:
    """The check draws its queries so, in an order of draws that must not change."""
    corpus = Corpus(WORLD, random.Random(3))
    other = random.Random(3)
    for _ in range(200):
        concept = corpus.concept(harmful=True)
        query = corpus.query(concept, "text")
        assert concept == other.choice(corpus.harmful)
        assert query.template == other.choice(WORLD.templates_of("text", False))
        assert query.text == fill(other.choice([query.template.text]), {"concept": concept.name})
        other.random()  # asks whether to stir; a further draw would part the two at the next query


@pytest.mark.parametrize("stirred", [0.0, 0.5], ids=["plain", "stirred"])
def test_what_a_build_learns_from(stirred: float) -> None:
    """Its shares are those that are written down; ECSO's own strings are in at most half of each role's samples; no
    paraphrase that is held out is in any."""
    rng = random.Random(11)
    corpus = Corpus(WORLD, rng, stirred=stirred)

    def scenes() -> Scene:
        return draw(WORLD, rng.choice(WORLD.concepts), rng.choice(KINDS), 7)[1]

    samples = list(islice(corpus.stream(scenes), 4000))
    mix = STIRRED_MIX if stirred else MIX
    assert sum(mix.values()) == pytest.approx(1.0)
    opening = {"tell": "QUERY:\n", "caption": "REQUEST:\n", "safe_answer": "You are given some hints"}
    for role, own in opening.items():
        texts = [sample.text for sample in samples if sample.role == role]
        assert len(texts) / len(samples) == pytest.approx(mix[role], abs=0.03)
        assert 0.2 < sum(text.startswith(own) for text in texts) / len(texts) <= 0.5
    unseen = [text for phrases in WORLD.paraphrases.values() for text in phrases.heldout]
    fixed = [max(re.split(r"\{\w+\}", text), key=len) for text in unseen]
    assert not [sample for sample in samples if any(part in sample.text for part in fixed if len(part) > 20)]


@pytest.mark.parametrize("path", [WORLD_FILE, WORLD_TWO_FILE], ids=lambda path: path.stem)
def test_words_put_out_of_place_hold_nothing_that_is_measured(path: Path) -> None:
    """Tokens of names, colours and held-out wordings are never a stray; the others are put into texts."""
    world = load_world(path)
    tokenizer = make_tokenizer(tokenizer_texts(world), Shape())
    found = strays(world, tokenizer)
    assert len(found) > 300
    unseen = [t for phrases in (*world.paraphrases.values(), *world.skills.values()) for t in phrases.heldout]
    unseen += [template.text for template in world.templates if template.heldout]
    measured = [*unseen, *(concept.name for concept in world.concepts), *world.drawing.palette]
    whole = {word.strip(".,:?!") for text in measured for word in text.split()}
    assert "curious" in whole
    assert not whole & set(found)
    spoon = Spoon(world, random.Random(2), found)
    stirred = [spoon.stir("Describe {concept}.", words=True) for _ in range(2000)]
    put = {word.strip(".!?") for text in stirred for word in text.split()}
    assert len(put & (set(found) - set(spoon.words))) > 200
    assert sum("{concept}" in text for text in stirred) == 2000
