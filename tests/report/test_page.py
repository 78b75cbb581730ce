"""Whatever stands in the data, the page holds it as text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.evaluation.harmless import HarmlessTable, Line
from engine.evaluation.rates import wilson
from engine.report import page, sections
from engine.report.collect import BINS, Seen
from engine.report.flow import Ribbon
from engine.report.rows import row_view
from engine.report.thumbs import Thumb
from engine.report.write import overview, seen_view
from tests.report.make import NASTY, cues, diversity, funnel, member, step, transcript

TEXT = st.one_of(st.sampled_from(NASTY), st.text(max_size=40))
ALLOWED = set(
    re.findall(
        r"\w+",
        """html head meta title link style body a header span nav ul li button main section p h1 h2 h3 h4 div dl dt dd
        svg desc circle path rect line text table thead tbody tr th td details summary figure figcaption
        strong em code q ol article img br script""",
    )
)
"""Every element that the templates write; another one came from data."""


class Reader(HTMLParser):
    """Elements, attributes, and text outside of style and script."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        (self.raw if self._inside in ("style", "script") else self.text).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def read(document: bytes) -> Reader:
    reader = Reader()
    reader.feed(document.decode())
    reader.close()
    return reader


def view(text: str) -> dict[str, Any]:
    """A view with `text` wherever data can stand."""
    row = transcript(
        0,
        text,
        None,
        source_key=text,
        category=text,
        picture_sha256=["a", "b"],
        error_stage=text,
        error_type=text,
        error_message=text,
        steps=[step(text, text), step("answer", text), step("tell", text, p=0.5, verdict="harmful")],
    )
    thumbs = {"a": Thumb("a", "data:image/webp;base64,AAAA", 8, 8)}
    shown = row_view(row, thumbs, [text])
    steps = [{**each, "step": text, "reasons": {text: 3}, "per_source": {text: [9, 6]}} for each in funnel(90)]
    document = {
        "funnel": steps,
        "cues": {**cues(0.7), "top": [{"cue": text, "rows": 3, "refused": 1, "share": 1 / 3}]},
        "duplicates": {"exact": 1, "clusters": [{"kept": text, "dropped": [member(text, text, 0.9, 3)]}]},
        "leakage": {
            "action": text,
            "indexes": [text],
            "matched": 1,
            "pairs": [{"query_id": text, "benchmark": text, "key": text, "kind": text, "similarity": 1.0}],
        },
        "diversity": {
            **diversity(100),
            "clusters": [{"size": 9, "kept": 3, "share": 0.1, "example": text, "categories": {text: 9}}],
        },
    }
    seen = Seen(0.5, direct=[1] * BINS, final=[2] * BINS)
    seen.flips["harmful", "harmless"] = 3
    line = Line(text, wilson(1, 4), wilson(4, 4), 1)
    seen.rates = HarmlessTable(text, [line], line, (wilson(0, 4), wilson(1, 4)))
    curation = {"counts": dict.fromkeys(("read", "sft", "preference", "rejected"), 5), "runs": []}
    said = row_view(row, {}, []).query
    return {
        **overview(curation, [], [text]),
        **seen_view(seen),
        "sources": [text],
        "models": [text],
        "strategy": text,
        "facts": [[("Run", text), ("Strategy", text), ("Finished", text)]],
        "sections": sections.read(document, "here"),
        "answers_warning": None,
        "reasons": [
            {
                "name": text,
                "count": 3,
                "examples": [
                    {"query_id": text, "category": text, "evidence": said, "query": said, "response": said},
                ],
            }
        ],
        "random_rows": [shown],
        "borderline_rows": [shown],
        "by_id": {text: shown},
    }


def is_safe(reader: Reader) -> None:
    """No element, attribute or address but the templates' own."""
    tags = [tag for tag, _ in reader.elements]
    assert set(tags) <= ALLOWED
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("href", "src"):
            address = attributes.get(name)
            assert address is None or address.startswith(("#", "data:image/webp;", "data:,")), address
    scripts = "".join(reader.raw)
    assert scripts.replace("\r", "") == page._asset("style.css") + page._asset("page.js")


@settings(max_examples=40, deadline=None)
@given(TEXT)
def test_any_text_in_every_field_stays_text(text: str) -> None:
    is_safe(read(page.render(view(text))))


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_is_shown_as_it_is(text: str) -> None:
    reader = read(page.render(view(text)))
    is_safe(reader)
    shown = text.strip()
    assert sum(shown in piece for piece in reader.text) >= 15


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "a\x85b", "\ud800"])
def test_control_characters_are_replaced(text: str) -> None:
    document = page.render(view(text)).decode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", document)


def test_the_policy_names_what_the_page_holds() -> None:
    """The hashes in the policy are those of the two inline blocks as they stand, and nothing may be fetched."""
    document = page.render(view("x")).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', document)
    assert policy is not None
    for tag in ("style", "script"):
        inline = re.search(rf"<{tag}>(.*?)</{tag}>", document, re.DOTALL)
        assert inline is not None
        digest = base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    assert "http" not in re.sub(r"<meta http-equiv", "", document)


def test_a_page_without_anything_says_so() -> None:
    nothing = {
        **overview({"counts": dict.fromkeys(("read", "sft", "preference", "rejected"), 0), "runs": []}, [], []),
        **seen_view(None),
        "sections": sections.read({}, "here"),
        "answers_warning": None,
        "reasons": [],
        "random_rows": None,
        "borderline_rows": None,
        "by_id": {},
    }
    reader = read(page.render(nothing))
    assert sum("Not computed." in piece for piece in reader.text) == 11


def test_ribbons_are_those_of_the_flips() -> None:
    seen = Seen(0.5)
    seen.flips["harmful", "harmless"] = 7
    seen.flips["unknown", "harmful"] = 2
    found = seen_view(seen)
    assert found["ribbons"] == [Ribbon("harmful", "harmless", 7), Ribbon("unknown", "harmful", 2)]
    assert found["order"] == ["harmful", "unknown", "harmless"]


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, 1.4.3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    """Text at 4.5 on every ground it stands on, drawings at 3 (WCAG 1.4.3, 1.4.11), in both themes."""
    style = page._asset("style.css")
    found = dict(re.findall(r"--([a-z-]+): light-dark\((.*?)\);", style))
    colours = {name: pair.split(", ")[theme] for name, pair in found.items()}
    for ground in ("paper", "card", "rail"):
        for ink in ("ink", "muted", "direct", "final", "third", "accent"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["dropped"], colours["paper"]) >= 3
    assert contrast(colours["dropped"], colours["rail"]) >= 3
    assert contrast(colours["alert-ink"], colours["alert"]) >= 4.5
