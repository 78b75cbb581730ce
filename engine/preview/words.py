"""The estimate in words: the same lines in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

NAMES = {
    "p_harmful": "p(harmful), direct",
    "calls_per_row": "calls / row",
    "tokens_per_row": "tokens / row",
    "completion_tokens_per_row": "of these written / row",
    "errors": "share of errors",
    "calls": "calls",
    "tokens": "tokens",
    "rows_per_s": "rows / s",
    "hours": "time",
    "cost": "cost",
}
SHARES = ("p_harmful", "errors")


class Words(NamedTuple):
    """One line."""

    name: str
    value: str
    interval: str


def number(name: str, value: float | None) -> str:
    """A figure as a person reads it."""
    if value is None:
        return "–"
    if name in SHARES:
        return f"{100 * value:.1f} %"
    if name == "hours":
        return f"{value:,.2f} h" if value >= 1 else f"{60 * value:.1f} min"
    if name in ("calls", "tokens"):
        return f"{value:,.0f}"
    return f"{value:,.2f}"


def interval(name: str, low: float, high: float) -> str:
    """Both ends, with their unit once where it is the same."""
    first, last = number(name, low), number(name, high)
    value, _, unit = first.partition(" ")
    return f"{value} to {last}" if unit and last.endswith(f" {unit}") else f"{first} to {last}"


def lines_of(document: Mapping[str, Any]) -> list[Words]:
    """Every figure of the estimate that there is."""
    found = []
    for name, words in NAMES.items():
        figure = document["estimate"][name]
        if isinstance(figure, Mapping):
            found.append(Words(words, number(name, figure["value"]), interval(name, figure["low"], figure["high"])))
        elif figure is not None:
            found.append(Words(words, number(name, figure), ""))
    return found


def notes_of(document: Mapping[str, Any]) -> list[str]:
    """What a reader of the estimate must know."""
    told, pace = document["estimate"], document["pace"]
    notes = []
    if document["scripted"]:
        notes.append("A script answered, no model: only the number of calls means something.")
    if told["formula_calls_per_row"] is not None:
        notes.append(
            f"calls/row = 2 + 2·p(harmful) = {told['formula_calls_per_row']['value']:.2f}, and "
            f"{told['rechecks_per_row']:.2f} for re-checks and new tries."
        )
    if pace["given"]:
        notes.append(f"Time by the {pace['rows_per_s']:g} rows/s that were given.")
    else:
        notes.append(
            f"Time by the preview's own pace, {pace['in_flight']} rows in flight on one engine, times the engines. A "
            "run keeps more in flight: a GPU is then faster, a CPU that is shared may be slower. --rows-per-s of an "
            "earlier run is better; the interval is of the rows, not of the machine."
        )
    if pace["startup_s"] is not None:
        notes.append(f"Engines start once, in about {pace['startup_s']:.0f} s: not in it.")
    missed = [each for each in document["strata"] if not each["answered"]]
    if missed:
        rows = sum(each["rows"] for each in missed)
        notes.append(
            f"{len(missed)} of {len(document['strata'])} kinds of rows ({rows:,} rows) had none answered: raise -n."
        )
    if document["source"]["unreadable"]:
        notes.append(
            f"{document['source']['unreadable']:,} rows of the source cannot be read; engine.validate names them."
        )
    return notes
