"""Names: built in, from an installed distribution, unknown; what a bad distribution is told, and by whose name."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import fingerprint, judges, registry, strategies
from engine.catalogue import built_in
from engine.commands.list import main
from engine.config import GenerateConfig
from engine.curation import filters
from engine.errors import UsageError
from engine.judges import JudgeOptions
from engine.strategies import StrategyOptions
from tests.registry.distribution import BROUGHT, brought, install

BAD = """
def crashes(options):
    return 1 / 0

def nothing(options):
    return 5

thing = 7
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, still empty; what was imported from it is forgotten."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def test_nothing_is_read_for_a_built_in_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(kind: str, known: object) -> None:
        raise AssertionError(f"{kind} were read")

    monkeypatch.setattr(registry, "outside", never)
    for kind in registry.KINDS:
        for name in built_in(kind):
            assert registry.find(kind, name, built_in(kind)).part is None


def test_a_name_from_outside(site: Path) -> None:
    brought(site)
    for kind, parts in BROUGHT.items():
        for name, target in parts.items():
            found = registry.find(kind, name, built_in(kind))
            assert found.part is not None
            assert (found.part.distribution, found.part.version, found.part.target) == ("loudness", "1.2", target)
    judge = judges.make("capitals", JudgeOptions())
    assert judge.version.startswith("7 loudness 1.2 (brought:capitals, code=")
    assert filters.make("no_two", {"word": "x"})({"query": "x"}) is not None
    with pytest.raises(UsageError, match=r"filter no_two has no option 'wrod'; did you mean word\?"):
        filters.make("no_two", {"wrod": "x"})


def test_an_edited_prompt_is_another_run(site: Path) -> None:
    """Distribution, version, target and code are in the fingerprint; the version alone would not tell an edit."""
    brought(site)
    config = GenerateConfig(strategy="loud", queries="numbers", backend="scripted")

    def fields() -> dict[str, object]:
        return fingerprint.fields(config, backend="scripted", model="scripted", revision=None)

    before = fields()
    assert before["strategy_from"]["distribution"] == before["queries_from"]["distribution"] == "loudness"  # type: ignore[index]
    module = site / "brought.py"
    module.write_text(module.read_text().replace("LOUDLY", "VERY LOUDLY"))
    after = fields()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"strategy_from", "queries_from", "prompt_set_sha256"}
    ours = GenerateConfig(backend="scripted")
    assert not [
        name for name in fingerprint.fields(ours, backend="scripted", model="m", revision=None) if "_from" in name
    ]


def test_options_that_a_strategy_from_outside_is_handed(site: Path) -> None:
    """It may read any of them, so another one is another run; a built-in one that does not read them has them not."""
    brought(site)

    def fields(strategy: str, **changes: object) -> dict[str, object]:
        config = GenerateConfig(strategy=strategy, backend="scripted", **changes)  # type: ignore[arg-type]
        return fingerprint.fields(config, backend="scripted", model="scripted", revision=None)

    assert "strategy_options" not in fields("loud")
    changes = {"preset": "paper", "eta_pre": 0.2}
    assert fields("loud", **changes)["strategy_options"] == changes
    assert fields("direct", **changes) == fields("direct")


def test_texts_beside_a_module_of_a_package_count(site: Path) -> None:
    install(site, "packed", {"strategies": {"packed": "packed.make:packed"}})
    (site / "packed").mkdir()
    for name in ("__init__.py", "make.py", "prompt.txt"):
        (site / "packed" / name).write_text("")
    before = strategies.prompt_set("packed")
    (site / "packed/prompt.txt").write_text("more")
    assert strategies.prompt_set("packed") != before


@pytest.mark.parametrize(
    ("parts", "name", "message"),
    [
        ({"ecso": "bad:nothing"}, "mine", r"ecso \(from badness 1.2, bad:nothing\): the name ecso is built in"),
        ({"Big": "bad:nothing"}, "mine", "lower-case letters"),
        ({"mine": "bad"}, "mine", "expected module:function"),
        ({"mine": "nowhere:mine"}, "mine", r"from badness 1.2, nowhere:mine\): ModuleNotFoundError"),
        ({"mine": "bad:mine"}, "mine", "AttributeError: module 'bad' has no attribute 'mine'"),
        ({"mine": "broken:mine"}, "mine", r"from badness 1.2, broken:mine\): SyntaxError"),
        ({"mine": "bad:thing"}, "mine", "found a int, expected a function"),
        ({"mine": "bad:crashes"}, "mine", r"from badness 1.2, bad:crashes\): ZeroDivisionError"),
        ({"mine": "bad:nothing"}, "mine", "made a int without __call__, expected a strategy"),
        ({"mine": "bad:nothing"}, "mien", "did you mean mine"),
    ],
)
def test_bad_distributions(site: Path, parts: dict[str, str], name: str, message: str) -> None:
    install(site, "badness", {"strategies": parts}, bad=BAD, broken="def mine(:\n")
    with pytest.raises(UsageError, match=message):
        strategies.create(name, StrategyOptions())


def test_two_of_one_name(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither is taken; the list shows both, says why, and ends with 2. The built-in ones work as ever."""
    for name in ("one", "two"):
        install(site, name, {"judges": {"mine": "bad:nothing"}})
    with pytest.raises(UsageError, match=r"from one 1.2, bad:nothing.*two brings a judge of the same name"):
        judges.make("mine", JudgeOptions())
    assert judges.make("keywords", JudgeOptions()).name == "keywords"
    assert main(["judges", "--json"]) == 2
    said = capsys.readouterr()
    listed = json.loads(said.out)["judges"]
    assert [line["distribution"] for line in listed if not line["built_in"]] == ["one", "two"]
    assert "uninstall one of them" in said.err
