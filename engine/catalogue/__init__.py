"""What there is, by kind: every strategy, judge, source, benchmark, filter and backend, with what is known of it.

One `Card` a part, in the file of its kind; `python -m engine.list` prints them, docs/catalogue.md is written from them,
and publishing takes a source's licence from here. Licences and access were read from papers, repositories and Hub pages
as of 2026: no legal advice, and what is not known is said to be not known.

Adding a part: its line where it is registered, and its card here; a test names what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from engine import registry
from engine.catalogue.cards import Card

__all__ = ["Card", "Line", "built_in", "cards", "lines", "markdown", "text"]

TITLES = {
    "strategies": "`generate --strategy NAME`, `evaluate --strategy NAME,NAME`",
    "judges": "`annotate RUN --judge NAME`, `evaluate --judge NAME` (there also `self`: the model's own verdict)",
    "sources": "`generate --queries NAME --path PATH`",
    "benchmarks": "`evaluate --benchmark NAME=PATH`",
    "filters": "`curate`, key `filters` of its configuration; in this order by default",
    "backends": "`generate --backend NAME`, and wherever a model is asked",
}
HEAD = """\
# Catalogue: every part that the engine has

Written by `python -m engine.list --markdown > docs/catalogue.md`; a test holds the two together. Without that flag it
also lists what installed distributions bring ([extending.md](extending.md)). Licences and access as read in 2026 from
papers, repositories and Hub pages: no legal advice. No weights and no data set is shipped but the embedded model and
its sample.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One part as it is listed. `card` None: it comes from outside, and `part` says from where."""

    name: str
    card: Card | None
    part: registry.Part | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it: the same keys for all."""
        empty = dict.fromkeys(("distribution", "version", "target", "problem"), "")
        if self.card is not None:
            return {"name": self.name, "built_in": True, **asdict(self.card), **empty}
        part = self.part
        assert part is not None
        told = {"words": part.summary, "source": f"{part.distribution} {part.version}", "licence": part.licence}
        from_outside = {key: getattr(part, key) for key in empty}
        return {"name": self.name, "built_in": False, **told, "gated": "not known", "needs": "", **from_outside}


def built_in(kind: str) -> Mapping[str, Any]:
    """Name -> target or factory, as its registry has it."""
    from engine import backends, judges, sources, strategies
    from engine.curation import filters
    from engine.evaluation import benchmarks

    every: Mapping[str, Mapping[str, Any]] = {
        "strategies": strategies.STRATEGIES,
        "judges": judges.JUDGES,
        "sources": sources.SOURCES,
        "benchmarks": benchmarks.BENCHMARKS,
        "filters": filters.FILTERS,
        "backends": backends.BACKENDS,
    }
    return every[kind]


def cards(kind: str) -> Mapping[str, Card]:
    """Name -> card of the built-in parts of a kind."""
    found: Mapping[str, Card] = import_module(f"engine.catalogue.{kind}").CARDS
    return found


def lines(kind: str, *, outside: bool = True) -> list[Line]:
    """The built-in parts in the order of their registry, then those of installed distributions. LookupError for a
    built-in part without a card."""
    known, known_cards = built_in(kind), cards(kind)
    missing = [name for name in known if name not in known_cards]
    if missing:
        raise LookupError(f"no card for {', '.join(missing)}: add it to CARDS in engine/catalogue/{kind}.py")
    found = [Line(name, known_cards[name]) for name in known]
    return found + [Line(part.name, None, part) for part in registry.outside(kind, known)] if outside else found


def text(kind: str, found: list[Line]) -> str:
    """For a terminal: one block a part."""
    blocks = [f"{kind}: {TITLES[kind].replace('`', '')}"]
    for line in found:
        told = line.plain()
        block = [f"  {line.name}", f"    {told['words']}"]
        facts = [("source", told["source"]), ("licence", told["licence"]), ("gated", told["gated"])]
        facts += [("needs", told["needs"]), ("target", told["target"]), ("NOT USABLE", told["problem"])]
        blocks.append("\n".join(block + [f"    {name}: {value}" for name, value in facts if value]))
    return "\n".join(blocks)


def markdown() -> str:
    """docs/catalogue.md: the built-in parts, a table a kind."""
    whole = [HEAD]
    for kind in registry.KINDS:
        rows = ["| name | what it is | source | licence | gated | needs |", "|---|---|---|---|---|---|"]
        for line in lines(kind, outside=False):
            told = line.plain()
            cells = [f"`{line.name}`", *(told[key] for key in ("words", "source", "licence", "gated", "needs"))]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        whole.append("\n".join([f"## {kind.capitalize()}", "", TITLES[kind], "", *rows, ""]))
    return "\n".join(whole)
