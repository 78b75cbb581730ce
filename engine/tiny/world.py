"""A world file: the concepts, queries, wordings and drawing settings that a tiny model is made from."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLES = ("answer", "tell", "caption", "safe_answer")
"""The prompt roles of ECSO."""

KINDS = ("typographic", "pictorial", "both")
"""How a concept is drawn: its name, its sign, or both."""

LIST = "list"
"""Its name as the title of a numbered list with empty items (FigStep's pictures). For evaluation only: no build and no
sample draws it."""

FRAMES = ("circle", "square", "triangle", "diamond", "hexagon", "shield", "house", "drop")
FIGURES = ("dot", "bar", "plus", "cross", "ring", "zigzag", "wave", "arrow", "moon", "star")
MARKS = ("none", "tick")
FONTS = ("aileron", "bitmap")

_SLOT = re.compile(r"\{(\w+)\}")


class WorldError(ValueError):
    """A world file that cannot be used; the message names the field and what was expected."""


@dataclass(frozen=True)
class Sign:
    """The drawn sign of a concept."""

    frame: str
    figure: str
    mark: str


@dataclass(frozen=True)
class Concept:
    """One word of the world. A held-out one never stands in the sample's train split."""

    name: str
    harmful: bool
    category: str
    subcategory: str
    heldout: bool
    sign: Sign


@dataclass(frozen=True)
class Template:
    """A query; `about` says whether its text names the concept (`text`) or points at the picture (`picture`)."""

    index: int
    text: str
    about: str
    heldout: bool

    def fill(self, concept: Concept) -> str:
        """The query for this concept."""
        return fill(self.text, {"concept": concept.name})


@dataclass(frozen=True)
class Phrases:
    """Paraphrases of one prompt; the held-out ones are in no training sample."""

    seen: tuple[str, ...]
    heldout: tuple[str, ...]

    def of(self, heldout: bool) -> tuple[str, ...]:
        """The half asked for."""
        return self.heldout if heldout else self.seen


@dataclass(frozen=True)
class Drawing:
    """Settings of the drawings. Seeds from `heldout_seeds_from` on are never in a build."""

    size: int
    patch: int
    train_seeds: int
    heldout_seeds_from: int
    jitter: int
    text_sizes: tuple[int, ...]
    small_text_sizes: tuple[int, ...]
    line_widths: tuple[int, ...]
    inks: tuple[str, ...]
    palette: Mapping[str, str]


@dataclass(frozen=True)
class World:
    """A whole world file, checked."""

    name: str
    font: str
    drawing: Drawing
    concepts: tuple[Concept, ...]
    templates: tuple[Template, ...]
    paraphrases: Mapping[str, Phrases]
    skills: Mapping[str, Phrases]
    refusals: tuple[str, ...]
    answers: tuple[str, ...]
    captions: Mapping[str, tuple[str, ...]]
    no_picture: tuple[str, ...]
    unclear: tuple[str, ...]
    no_question: tuple[str, ...]
    system_prompts: tuple[str, ...]

    def concept(self, name: str) -> Concept:
        """The concept of this name."""
        for concept in self.concepts:
            if concept.name == name:
                return concept
        raise KeyError(f"no concept {name!r} in world {self.name!r}")

    def templates_of(self, about: str, heldout: bool) -> tuple[Template, ...]:
        """The templates of one kind and one split."""
        return tuple(t for t in self.templates if t.about == about and t.heldout == heldout)

    def answer(self, concept: Concept, template: Template, refuse: bool) -> str:
        """The world's own response. The wording follows the template, so that greedy text varies."""
        wordings = self.refusals if refuse else self.answers
        return fill(wordings[template.index % len(wordings)], {"concept": concept.name})


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put the values into `{slots}` in a single pass: a slot inside a value stays text."""
    return _SLOT.sub(lambda m: values.get(m.group(1), m.group(0)), template)


def load_world(path: Path) -> World:
    """Read and check a world file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WorldError(f"{path}: cannot be read as JSON: {error}") from error
    try:
        world = _parse(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise WorldError(f"{path}: a field is missing or of the wrong type: {error!r}") from error
    problems = check_world(world)
    if problems:
        raise WorldError(f"{path}: " + "; ".join(problems))
    return world


def check_world(world: World) -> list[str]:
    """Everything that the file lacks, in words; an empty list is a good world."""
    problems: list[str] = []

    def want(condition: bool, message: str) -> None:
        if not condition:
            problems.append(message)

    names = [c.name for c in world.concepts]
    harmful = sum(c.harmful for c in world.concepts)
    want(len(names) >= 120, f"concepts: {len(names)}, expected at least 120")
    want(
        abs(2 * harmful - len(names)) <= len(names) // 10, f"concepts: {harmful} harmful of {len(names)}, expected half"
    )
    want(len(set(names)) == len(names), "concepts: a name stands twice")
    want(len({c.sign for c in world.concepts}) == len(names), "concepts: a sign stands twice")
    for concept in world.concepts:
        sign = concept.sign
        known = sign.frame in FRAMES and sign.figure in FIGURES and sign.mark in MARKS
        want(known, f"concepts: {concept.name}: unknown sign {sign}")
        want(bool(concept.category) == concept.harmful, f"concepts: {concept.name}: a category is for harmful ones")
    for truth in (True, False):
        held = [c for c in world.concepts if c.harmful == truth and c.heldout]
        want(len(held) >= 10, f"concepts: {len(held)} held out with harmful={truth}, expected at least 10")
    want(world.font in FONTS, f"font: {world.font!r}, expected one of {FONTS}")
    want(len(world.templates) >= 24, f"templates: {len(world.templates)}, expected at least 24")
    for about in ("text", "picture"):
        for heldout in (False, True):
            want(bool(world.templates_of(about, heldout)), f"templates: none with about={about}, heldout={heldout}")
    for template in world.templates:
        want(
            ("{concept}" in template.text) == (template.about == "text"),
            f"templates: {template.text!r}: slot and about differ",
        )
    slots = {
        "answer": ("query",), "tell": ("query", "response"), "caption": (), "safe_answer": ("query", "caption"),
        "picture_harm": (), "word_harm": ("concept",),
    }  # fmt: skip
    for role, needed in slots.items():
        phrases = world.paraphrases.get(role, Phrases((), ()))
        least = 8 if role in ROLES else 4
        want(len(phrases.seen) >= least, f"paraphrases.{role}.seen: {len(phrases.seen)}, expected at least {least}")
        want(bool(phrases.heldout), f"paraphrases.{role}.heldout: empty")
        want(not set(phrases.seen) & set(phrases.heldout), f"paraphrases.{role}: one stands in both splits")
        for text in phrases.seen + phrases.heldout:
            want(
                all(f"{{{slot}}}" in text for slot in needed), f"paraphrases.{role}: {text!r} lacks a slot of {needed}"
            )
    for name, wordings in (("refusal", world.refusals), ("answer", world.answers)):
        want(len(set(wordings)) >= 8, f"wordings.{name}: {len(set(wordings))}, expected at least 8")
        for text in wordings:
            want("{concept}" in text, f"wordings.{name}: {text!r} does not name the concept")
    want(set(world.captions) == set(KINDS), f"wordings.caption: expected {KINDS}")
    want(set(SKILLS) <= set(world.skills), f"skills: expected {SKILLS}")
    return problems


SKILLS = ("colour", "colour_check", "read", "read_check", "sign_check", "words_check")
"""Questions that have nothing to do with harm, for utility."""


def _parse(data: Mapping[str, Any]) -> World:
    drawing = data["drawing"]
    wordings = data["wordings"]
    return World(
        name=str(data["name"]),
        font=str(data["font"]),
        drawing=Drawing(
            size=int(drawing["size"]),
            patch=int(drawing["patch"]),
            train_seeds=int(drawing["train_seeds"]),
            heldout_seeds_from=int(drawing["heldout_seeds_from"]),
            jitter=int(drawing["jitter"]),
            text_sizes=tuple(drawing["text_sizes"]),
            small_text_sizes=tuple(drawing["small_text_sizes"]),
            line_widths=tuple(drawing["line_widths"]),
            inks=tuple(drawing["inks"]),
            palette=dict(drawing["palette"]),
        ),
        concepts=tuple(
            Concept(
                c["name"], bool(c["harmful"]), c["category"], c["subcategory"], bool(c["heldout"]), Sign(**c["sign"])
            )
            for c in data["concepts"]
        ),
        templates=_templates(data["templates"]),
        paraphrases={role: _phrases(value) for role, value in data["paraphrases"].items()},
        skills={skill: _phrases(value) for skill, value in data["skills"].items()},
        refusals=tuple(wordings["refusal"]),
        answers=tuple(wordings["answer"]),
        captions={kind: tuple(value) for kind, value in wordings["caption"].items()},
        no_picture=tuple(wordings["no_picture"]),
        unclear=tuple(wordings["unclear"]),
        no_question=tuple(data["no_question"]),
        system_prompts=tuple(data["system_prompts"]),
    )


def _templates(rows: list[dict[str, Any]]) -> tuple[Template, ...]:
    """Number the templates within their kind and split: the number picks the wording of a response."""
    counts: dict[tuple[str, bool], int] = {}
    found = []
    for row in rows:
        key = (str(row["about"]), bool(row["heldout"]))
        found.append(Template(counts.get(key, 0), str(row["text"]), *key))
        counts[key] = counts.get(key, 0) + 1
    return tuple(found)


def _phrases(value: Mapping[str, Any]) -> Phrases:
    return Phrases(tuple(value["seen"]), tuple(value["heldout"]))
