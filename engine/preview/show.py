"""The preview in the terminal: each row step by step, texts closed unless a judge called them harmless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.preview.compare import Comparison
from engine.preview.words import NAMES, interval, lines_of, notes_of, number
from engine.report.rows import Text, row_view

if TYPE_CHECKING:
    from rich.console import Console

CUT = 300
"""Characters of one text in the terminal."""
COLOURS = {"harmless": "green", "harmful": "red", "unknown": "yellow"}


def rows(console: Console, found: Sequence[dict[str, Any]], *, opened: bool) -> None:
    """Every row as a small tree."""
    from rich.markup import escape
    from rich.tree import Tree

    for row in found:
        view = row_view(row, {}, [])
        tree = Tree(f"[bold]{escape(view.source_key)}[/]  {escape(view.category)} · query {view.label}")
        tree.add("query  " + _said(view.query, opened))
        for step in view.steps:
            verdict = f"  [{COLOURS.get(step.verdict, 'dim')}]{step.verdict}[/]" if step.verdict else ""
            p = f"  p(harmful) {step.p:.3f}" if step.p is not None else ""
            tree.add(
                f"[cyan]{escape(step.name)}[/]{verdict}{p}  {_said(step.text, opened)}  [dim]{escape(step.facts)}[/]"
            )
        if view.error:
            tree.add(f"[red]error[/]  {escape(view.error[:CUT])}")
        colour = COLOURS.get(view.final_verdict, "dim")
        tree.add(f"[bold]{row['status']}[/]  final answer [{colour}]{view.final_verdict}[/]")
        console.print(tree, highlight=False)


def _said(text: Text, opened: bool) -> str:
    from rich.markup import escape

    if text.warning and not opened:
        return f"[dim]({escape(text.warning)}: hidden)[/]"
    plain = "".join(char if char.isprintable() else " " for char in text.text)
    return escape(plain[:CUT]) + ("…" if len(plain) > CUT or text.more else "")


def estimate(console: Console, document: Mapping[str, Any]) -> None:
    """The table of the whole job, and its notes."""
    from rich.table import Table

    rows = document["estimate"]["rows"]
    table = Table(title=f"the whole job: {rows:,} rows, from {document['answered']} answered", title_justify="left")
    for name, side in (("", "left"), ("estimate", "right"), ("95 % interval", "right")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for line in lines_of(document):
        table.add_row(*line)
    console.print(table)
    for note in notes_of(document):
        console.print(f"· {note}", highlight=False)


def comparison(console: Console, found: Comparison) -> None:
    """Estimate against actual."""
    from rich.table import Table

    table = Table(title="estimate against actual", title_justify="left")
    for name in ("", "estimate", "95 % interval", "actual", ""):
        table.add_column(name, justify="left" if not name else "right")
    for line in found.lines:
        span = "" if line.low is None or line.high is None else interval(line.name, line.low, line.high)
        inside = "" if line.inside is None else ("inside" if line.inside else "outside")
        table.add_row(NAMES[line.name], number(line.name, line.estimate), span, number(line.name, line.actual), inside)
    console.print(table)
    for note in found.notes:
        console.print(f"· {note}", highlight=False)
