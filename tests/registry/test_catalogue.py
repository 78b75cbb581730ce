"""The catalogue: every registered name has its card, the page is of the same data, licences stand once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine import registry
from engine.catalogue import built_in, cards, markdown
from engine.commands.list import KINDS, main
from engine.evaluation import benchmarks
from tests.registry.distribution import brought

PAGE = Path(__file__).parents[2] / "docs/catalogue.md"


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_part_has_a_card(kind: str) -> None:
    known, found = set(built_in(kind)), cards(kind)
    assert not known - set(found), f"no card: add it to CARDS in engine/catalogue/{kind}.py"
    assert not set(found) - known, f"a card of nothing in engine/catalogue/{kind}.py"
    for name, card in found.items():
        assert card.words, name
        assert card.source, name
        assert card.licence, name
        assert card.needs, name


def test_the_page_is_of_the_same_data() -> None:
    assert markdown() == PAGE.read_text("utf-8"), "run: python -m engine.list --markdown > docs/catalogue.md"


def test_kinds_are_those_of_the_registry() -> None:
    """The door names them again, so that its help imports nothing."""
    assert tuple(registry.KINDS) == KINDS


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_a_benchmark_and_its_card_name_the_same_paper(name: str) -> None:
    paper = r"\d{4}\.\d{5}"
    note, source = benchmarks.get(name).source_note, cards("benchmarks")[name].source
    assert set(re.findall(paper, source)[:1]) <= set(re.findall(paper, note))
    assert bool(re.findall(paper, source)) == bool(re.findall(paper, note))


@pytest.mark.parametrize("kind", KINDS)
def test_the_command(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([kind]) == 0
    text = capsys.readouterr().out
    assert main([kind, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [line["name"] for line in listed[kind]][: len(built_in(kind))] == list(built_in(kind))
    for line in listed[kind]:
        assert f"\n  {line['name']}\n    {line['words']}\n    source: {line['source']}\n" in text


def test_all_kinds_and_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a distribution brings is listed without being imported, and is not on the page."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(brought(tmp_path / "site")))
    (tmp_path / "site/brought.py").write_text("raise SystemExit('imported')")
    assert main(["--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert tuple(listed) == KINDS
    own = {kind: [line for line in lines if not line["built_in"]] for kind, lines in listed.items()}
    assert [line["name"] for line in own["judges"]] == ["capitals"]
    assert own["judges"][0]["target"] == "brought:capitals"
    assert (own["judges"][0]["source"], own["judges"][0]["words"]) == ("loudness 1.2", "loud things")
    assert all(own.values())
    assert markdown() == PAGE.read_text("utf-8")
