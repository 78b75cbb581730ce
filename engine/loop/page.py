"""loop.html: the rounds and arms on one page, with the report's look; no text of any row stands on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.journal.store import Store
from engine.loop.picture import png
from engine.loop.state import State
from engine.loop.summary import footnote, reach, to_markdown, words
from engine.report.charts import Mark

NAME = "loop.html"
SERIES = {"untouched": "direct", "ecso": "third", "tuned_ecso": "final", "tuned_reference": "third"}


def write_page(state: State) -> None:
    """Write OUT/loop.html and its table as loop.md; at the end of a loop loop.png too, where matplotlib is at hand.
    OutputError: cannot be written."""
    store = Store(str(state.root))
    store.write(NAME, render(state.document))
    store.write("loop.md", to_markdown(state.document).encode())
    drawn = png(state.document) if state.document["status"] == "complete" else None
    if drawn is not None:
        store.write("loop.png", drawn)


def render(document: Mapping[str, Any]) -> bytes:
    """The page of a loop.json."""
    from engine.report.page import render as render_page

    lines = document["summary"].get("lines", [])
    measures = list(lines[0]["measures"]) if lines else []
    return render_page(
        {
            "document": document,
            "lines": lines,
            "measures": measures,
            "mark": mark,
            "words": words,
            "reach": reach,
            "footnote": footnote(lines),
            "series": lambda line: SERIES.get(line["arm"], "direct"),
            "chain": chain(document),
            "timings": timings(document),
            "tiny": document["config"]["generate"].get("model", "tiny") == "tiny",
            "judges": judges(document),
            "scripted": document["config"]["generate"].get("backend") == "scripted",
        },
        "loop.html",
    )


def mark(line: Mapping[str, Any], measure: str) -> Mark | None:
    """The point of a line on a scale of 0 to 100 %; None for points and for what was not measured."""
    found = line["measures"][measure]
    if found["unit"] != "share" or found["mean"] is None:
        return None
    low = found["mean"] if found["low"] is None else found["low"]
    high = found["mean"] if found["high"] is None else found["high"]
    return Mark(SERIES.get(line["arm"], "direct"), found["mean"], low, high)


def chain(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every single result: seed, arm, round and its figures."""
    found = []
    for result in document["results"]:
        figures = {name: as_spread(each) for name, each in result["measures"].items()}
        found.append({**result, "figures": figures})
    return found


def as_spread(found: Mapping[str, Any]) -> dict[str, Any]:
    """One measurement as `words` wants it."""
    return {"mean": found["value"], "sd": None, "low": found["low"], "high": found["high"], "unit": found["unit"]}


def timings(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Seconds by kind of stage."""
    whole: dict[str, list[float]] = {}
    for stage in document["stages"].values():
        if stage["seconds"] is not None and stage["status"] == "done":
            whole.setdefault(stage["command"], []).append(stage["seconds"])
    return [{"command": name, "stages": len(each), "seconds": sum(each)} for name, each in whole.items()]


def judges(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(measure, who judged it and with which version)."""
    results = document["results"]
    if not results:
        return []
    found = []
    for name, each in results[0]["measures"].items():
        who = "code alone" if each.get("judge") is None else f"{each['judge']} ({each.get('version') or 'no version'})"
        found.append((name, who + ("; the judge is the model that answered" if each.get("same_model") else "")))
    return found
