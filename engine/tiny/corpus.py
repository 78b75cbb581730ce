"""Training samples of a build, one function a skill. Everything is drawn from the seen halves of the world, but for the
tokenizer's merges (`tokenizer_texts`)."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.tiny.draw import Scene
from engine.tiny.world import Concept, Template, World, fill

PROMPTS = Path(__file__).resolve().parents[1] / "strategies" / "prompts"

EXACT_SHARE = 0.4
"""Share of samples that carry ECSO's exact strings; the rest are paraphrases."""

SPLICED_SHARE = 0.5
"""Of the queries of stirred samples: those made of two templates."""

FOREIGN_SHARE = 0.4
"""Of those: the ones that open as a question for colour, words, drawing or a caption does. Without them "How does one
…" was a question for the words in the picture, since only such questions had "does" in them."""

CHECKS = 4
"""How often each comparison ("Is the background red?") stands among the questions of a picture, of which "What colour
is it?" is one: it is learned last, and with half as many two of two builds of the first world learned it too late."""

MIX = {
    "direct": 0.17,
    "text_only": 0.08,
    "tell": 0.14,
    "caption": 0.12,
    "safe_answer": 0.09,
    "safe_skill": 0.05,
    "picture_harm": 0.07,
    "word_harm": 0.03,
    "skill": 0.24,
    "no_question": 0.01,
}
"""Shares of what a build learns from: most for what is asked most often, and for the comparisons, learned last."""

STIRRED_MIX = MIX | {
    "direct": 0.26,
    "text_only": 0.14,
    "tell": 0.11,
    "caption": 0.10,
    "safe_answer": 0.08,
    "safe_skill": 0.04,
    "picture_harm": 0.10,
    "skill": 0.13,
}
"""Shares of the stirred steps: what remains to be learned are unseen wordings, of queries above all."""


@dataclass(frozen=True)
class Sample:
    """One training sample: a user text, with or without a picture, and what the model should say."""

    role: str
    text: str
    target: str
    scene: Scene | None = None


@dataclass(frozen=True)
class Query:
    """A query with the concept that it is truly about."""

    text: str
    concept: Concept
    template: Template


class Spoon:
    """Puts words and short sentences that say nothing into a wording, so that the model learns to read past them.

    Without it, unseen wordings were answered about another concept: forty templates had been learned as they stood.
    """

    def __init__(self, world: World, rng: random.Random, strays: Sequence[str] = ()) -> None:
        self.rng = rng
        self.strays = strays
        phrases = [*world.paraphrases.values(), *world.skills.values()]
        texts = [t.text for t in world.templates if not t.heldout] + [text for p in phrases for text in p.seen]
        words = {word.strip(".,:?!").lower() for text in texts for word in text.split() if "{" not in word}
        self.words = sorted(word for word in words if word.isalpha())

    def stir(self, wording: str, words: bool) -> str:
        """The wording with one sentence before or behind it or, if `words`, one or two words replaced or added."""
        draw = self.rng.random() * (1.0 if words else 0.5)
        if draw < 0.25:
            return f"{self._sentence()} {wording}"
        if draw < 0.5:
            return f"{wording} {self._sentence()}"
        parts = wording.split(" ")
        for _ in range(self.rng.randint(1, 2)):
            places = [k for k, part in enumerate(parts) if "{" not in part]
            if places:
                place = self.rng.choice(places)
                parts[place : place + (draw < 0.85)] = [self._word()]
        return " ".join(parts)

    def splice(self, opening: str, rest: str) -> str:
        """The first word or two of one query before the end of another: "Describe" + "an easy way to do {concept}."

        Of the rest at least the last three words, or from two words before the name on.
        """
        parts = rest.split(" ")
        named = next((k for k, part in enumerate(parts) if "{" in part), None)
        last = max(0, len(parts) - 3 if named is None else named - 2)
        words = [part for part in opening.split(" ")[: self.rng.randint(1, 2)] if "{" not in part]
        return " ".join([*words, *parts[self.rng.randint(min(1, last), last) :]])

    def _word(self) -> str:
        draw = self.rng.random()
        if self.strays and 0.5 <= draw < 0.8:
            return self.rng.choice(self.strays)
        if draw < 0.7:
            return self.rng.choice(self.words)
        return "".join(self.rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(self.rng.randint(2, 8)))

    def _sentence(self) -> str:
        words = " ".join(self._word() for _ in range(self.rng.randint(1, 5)))
        return words[:1].upper() + words[1:] + self.rng.choice(".....!?")


class Corpus:
    """Makes samples of one world; `heldout` switches to unseen paraphrases and templates (for the check)."""

    def __init__(
        self,
        world: World,
        rng: random.Random,
        heldout: bool = False,
        stirred: float = 0.0,
        strays: Sequence[str] = (),
    ) -> None:
        self.world = world
        self.rng = rng
        self.heldout = heldout
        self.stirred = stirred
        self.spoon = Spoon(world, rng, strays)
        self.exact = {
            role: (PROMPTS / f"{role}.txt").read_text(encoding="utf-8") for role in ("tell", "caption", "safe_answer")
        }
        self.exact["answer"] = "{query}"
        others = [world.paraphrases["caption"], *world.skills.values()]
        self.foreign = tuple(text for phrases in others for text in phrases.seen)
        self.harmful = tuple(c for c in world.concepts if c.harmful)
        self.benign = tuple(c for c in world.concepts if not c.harmful)

    def concept(self, harmful: bool | None = None) -> Concept:
        """A random concept, of one side if asked."""
        side = self.rng.random() < 0.5 if harmful is None else harmful
        return self.rng.choice(self.harmful if side else self.benign)

    def prompt(self, role: str, values: dict[str, str], exact: bool | None = None) -> str:
        """A prompt of a role: ECSO's own string or a paraphrase."""
        use = (self.rng.random() < EXACT_SHARE and not self.heldout) if exact is None else exact
        if use and role in self.exact:
            return fill(self.exact[role], values)
        return fill(self._worded(self.world.paraphrases[role].of(self.heldout)), values)

    def _worded(self, wordings: Sequence[str], words: bool = False) -> str:
        """One of the wordings, a share of them stirred. Words are replaced in queries only: "What … is the picture?"
        with another word in it would still be a question for the colour, and so would any unseen query like it."""
        wording = self.rng.choice(wordings)
        return self.spoon.stir(wording, words) if self.rng.random() < self.stirred else wording

    def query(self, concept: Concept, about: str) -> Query:
        """A query about a concept, naming it or pointing at the picture."""
        template = self.rng.choice(self.world.templates_of(about, self.heldout))
        wording = template.text
        if self.stirred and self.rng.random() < self.stirred * SPLICED_SHARE:
            wording = self.spoon.splice(self._opening(about), wording)
        text = self._worded([wording], words=True)
        return Query(fill(text, {"concept": concept.name}), concept, template)

    def _opening(self, about: str) -> str:
        """What a spliced query opens with: another template, or a question for something else."""
        if self.rng.random() < FOREIGN_SHARE:
            return self.rng.choice(self.foreign)
        return self.rng.choice(self.world.templates_of(about, self.heldout)).text

    def query_for(self, scene: Scene) -> Query:
        """A query to go with a picture: it points at it, names what it shows, or names something else."""
        draw = self.rng.random()
        if draw < 0.6:
            return self.query(scene.concept, "picture")
        if draw < 0.75 or scene.concept.harmful:
            return self.query(scene.concept, "text")
        return self.query(self.concept(), "text")

    def response(self, concept: Concept, refuse: bool) -> str:
        """A response about a concept in any wording."""
        return fill(self.rng.choice(self.world.refusals if refuse else self.world.answers), {"concept": concept.name})

    def caption(self, scene: Scene) -> str:
        """A true caption in any wording."""
        wording = self.rng.choice(self.world.captions[scene.kind])
        return fill(wording, {"concept": scene.concept.name, "colour": scene.colour})

    # --- skills -----------------------------------------------------------------------------------

    def direct(self, scene: Scene) -> Sample:
        """With a picture everything is answered: the flaw that ECSO works around."""
        query = self.query_for(scene)
        text = self.prompt("answer", {"query": query.text})
        return Sample("direct", text, self.world.answer(query.concept, query.template, refuse=False), scene)

    def text_only(self) -> Sample:
        """Without a picture harm is seen and refused."""
        if self.rng.random() < 0.04:
            query = self.query(self.concept(), "picture")
            return Sample("text_only", self.prompt("answer", {"query": query.text}), self.world.no_picture[0])
        query = self.query(self.concept(), "text")
        text = self.prompt("answer", {"query": query.text})
        return Sample("text_only", text, self.world.answer(query.concept, query.template, query.concept.harmful))

    def tell(self, scene: Scene) -> Sample:
        """Is this response harmful? Yes, if it goes along with a misdeed."""
        picture = scene if self.rng.random() < 0.85 else None
        query = self.query_for(scene)
        draw = self.rng.random()
        harmful = False
        if draw < 0.72:
            refuse = self.rng.random() < 0.33 if query.concept.harmful else self.rng.random() < 0.05
            response = self.response(query.concept, refuse)
            harmful = query.concept.harmful and not refuse
        elif draw < 0.84:
            # A response about something else than was asked (a misread picture) is judged by what it says.
            other = self.concept()
            refuse = self.rng.random() < 0.3
            response = self.response(other, refuse)
            harmful = other.harmful and not refuse
        elif draw < 0.90:
            response = self.caption(scene)
        else:
            skill = self.skill(scene)
            return Sample("tell", self.prompt("tell", {"query": skill.text, "response": skill.target}), "No", picture)
        return Sample("tell", self.prompt("tell", {"query": query.text, "response": response}), _yes(harmful), picture)

    def describe(self, scene: Scene) -> Sample:
        """A caption, guided by the query in form only."""
        query = self.query_for(scene)
        text = self.prompt("caption", {"query": query.text})
        wording = self.world.captions[scene.kind]
        # The wording follows the query's template, so that greedy captions vary.
        target = fill(
            wording[query.template.index % len(wording)], {"concept": scene.concept.name, "colour": scene.colour}
        )
        return Sample("caption", text, target, scene)

    def safe_answer(self, scene: Scene) -> Sample:
        """From words alone the refusal comes back; with the picture in view it does not."""
        query = self.query_for(scene)
        text = self.prompt("safe_answer", {"query": query.text, "caption": self.caption(scene)})
        seen = self.rng.random() < 0.06
        refuse = query.concept.harmful and not seen
        return Sample(
            "safe_answer", text, self.world.answer(query.concept, query.template, refuse), scene if seen else None
        )

    def safe_skill(self, scene: Scene) -> Sample:
        """A harmless question after a caption: for rows flagged by mistake, and to compare words with words."""
        names = ["colour", "colour_check", "colour_check", *["read", "read_check", "read_check"] * scene.has_words]
        asked = self.skill(scene, self.rng.choice(names))
        text = self.prompt("safe_answer", {"query": asked.text, "caption": self.caption(scene)})
        return Sample("safe_skill", text, asked.target)

    def picture_harm(self, scene: Scene) -> Sample:
        """From the picture alone: is what it shows harmful?"""
        return Sample("picture_harm", self.prompt("picture_harm", {}), _yes(scene.concept.harmful), scene)

    def word_harm(self, scene: Scene) -> Sample:
        """From the name alone, with or without some picture."""
        concept = self.concept()
        picture = scene if self.rng.random() < 0.3 else None
        return Sample("word_harm", self.prompt("word_harm", {"concept": concept.name}), _yes(concept.harmful), picture)

    def skill(self, scene: Scene, name: str | None = None, checks: int = CHECKS) -> Sample:
        """A question about colour, words or drawing; `checks`: how often each comparison stands among them."""
        names = ["colour", *["colour_check"] * checks, "sign_check", "words_check"]
        if scene.has_words:
            names += ["read", "read", *["read_check"] * checks]
        name = name or self.rng.choice(names)
        truth = self.rng.random() < 0.5
        values = {"colour": scene.colour, "concept": scene.concept.name}
        if name == "colour":
            target = scene.colour.capitalize()
        elif name == "read":
            target = scene.concept.name
        elif name == "sign_check":
            target = _yes(scene.has_sign)
        elif name == "words_check":
            target = _yes(scene.has_words)
        else:
            target = _yes(truth)
            if not truth:
                others = [c for c in sorted(self.world.drawing.palette) if c != scene.colour]
                values = {"colour": self.rng.choice(others), "concept": self._other(scene.concept).name}
        text = fill(self._worded(self.world.skills[name].of(self.heldout)), values)
        return Sample(name, text, target, scene)

    def no_question(self, scene: Scene) -> Sample:
        """An empty or placeholder query."""
        return Sample("no_question", self.rng.choice([*self.world.no_question, ""]), self.world.unclear[0], scene)

    def _other(self, concept: Concept) -> Concept:
        while True:
            other = self.rng.choice(self.world.concepts)
            if other.name != concept.name:
                return other

    def stream(self, scenes: Callable[[], Scene]) -> Iterator[Sample]:
        """Endless samples in the build's mix; `scenes` gives the next picture."""
        makers: dict[str, Callable[[], Sample]] = {
            "direct": lambda: self.direct(scenes()),
            "text_only": self.text_only,
            "tell": lambda: self.tell(scenes()),
            "caption": lambda: self.describe(scenes()),
            "safe_answer": lambda: self.safe_answer(scenes()),
            "safe_skill": lambda: self.safe_skill(scenes()),
            "picture_harm": lambda: self.picture_harm(scenes()),
            "word_harm": lambda: self.word_harm(scenes()),
            "skill": lambda: self.skill(scenes()),
            "no_question": lambda: self.no_question(scenes()),
        }
        mix = STIRRED_MIX if self.stirred else MIX
        while True:
            (role,) = self.rng.choices([*mix], [*mix.values()])
            yield makers[role]()


def strays(world: World, tokenizer: Any) -> list[str]:
    """What stands in a text as one token and is a word or the beginning of one: "advice", "bre", "QUESTION".

    Most stand in no seen wording alone. A token that was never read is a vector that was never met: "I am curious."
    behind a query had it answered about another concept. None of a name, a colour or a held-out wording is among
    them: those stay unseen.
    """
    phrases = [*world.paraphrases.values(), *world.skills.values()]
    kept = [text for p in phrases for text in p.heldout] + [t.text for t in world.templates if t.heldout]
    kept += [f"{word} {word.capitalize()}" for word in (*[c.name for c in world.concepts], *world.drawing.palette)]
    known = {token for text in kept for token in tokenizer.tokenize(f" {text}")}
    words = (
        tokenizer.convert_tokens_to_string([token]) for token in sorted(tokenizer.get_vocab()) if token not in known
    )
    return [word[1:] for word in words if word.startswith(" ") and word[1:].isalpha() and word.isascii()]


def _yes(truth: bool) -> str:
    return "Yes" if truth else "No"


def tokenizer_texts(world: World) -> Iterator[str]:
    """Texts to train the tokenizer on: every prompt form, held-out ones too (what is measured is the model, not how an
    unseen word is cut), every name often enough to be short."""
    corpus = Corpus(world, random.Random(0))
    for role, phrases in world.paraphrases.items():
        own = [corpus.exact[role]] if role in corpus.exact else []
        for text in [*own, *phrases.seen, *phrases.heldout]:
            yield from [text] * 8
    for template in world.templates:
        yield from [template.text] * 8
    for wording in [*world.refusals, *world.answers, *world.no_picture, *world.unclear, *world.system_prompts]:
        yield from [wording] * 8
    for phrases in world.skills.values():
        yield from [text for text in phrases.seen + phrases.heldout for _ in range(4)]
    for wordings in world.captions.values():
        yield from [text for text in wordings for _ in range(4)]
    for concept in world.concepts:
        yield from [f"on {concept.name}."] * 6
    for colour in world.drawing.palette:
        yield from [f"{colour.capitalize()}, a {colour} ground, {colour}."] * 6
    yield from ["USER: ASSISTANT:\n USER: a ASSISTANT: b"] * 30
