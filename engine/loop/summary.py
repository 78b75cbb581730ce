"""The table: one line an arm and round, mean ± standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.loop.plan import ARMS

if TYPE_CHECKING:
    from rich.table import Table

LABELS = {
    "untouched": "untouched model",
    "ecso": "ECSO at inference",
    "tuned_ecso": "tuned on ECSO's answers",
    "tuned_reference": "tuned on reference answers",
}


def summarise(results: Sequence[Mapping[str, Any]], rounds: int) -> dict[str, Any]:
    """Lines in the order of the arms, then of the variants as they came."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["arm"], result["round"]), []).append(result)
    order = {arm: place for place, arm in enumerate(ARMS)}
    keys = sorted(groups, key=lambda key: (order.get(key[0], len(order)), key[1] if key[0] in order else 0))
    return {"lines": [_line(arm, number, groups[arm, number], rounds) for arm, number in keys]}


def _line(arm: str, number: int, found: Sequence[Mapping[str, Any]], rounds: int) -> dict[str, Any]:
    label = LABELS.get(arm, arm.replace("_", " "))
    if arm == "tuned_ecso" and rounds > 1:
        label += f" (round {number})"
    return {
        "arm": arm,
        "round": number,
        "label": label,
        "kind": "arm" if arm in ARMS else "variant",
        "seeds": len(found),
        "measures": {name: _spread([each["measures"][name] for each in found]) for name in found[0]["measures"]},
    }


def _spread(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One seed: its own interval. Several: mean, sample standard deviation, least and largest. A seed without rows
    leaves the mean open: it cannot be left out silently. Unread judgements and errors: of all seeds together."""
    values = [each["value"] for each in found]
    first = found[0]
    spread: dict[str, Any] = {
        "mean": None,
        "sd": None,
        "low": None,
        "high": None,
        "n": first["n"],
        "unit": first["unit"],
        **{name: sum(each.get(name) or 0 for each in found) for name in ("unparsed", "errors")},
    }
    if any(value is None for value in values):
        return spread
    if len(values) == 1:
        return spread | {"mean": values[0], "low": first["low"], "high": first["high"]}
    return spread | {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values),
        "low": min(values),
        "high": max(values),
    }


def words(spread: Mapping[str, Any]) -> str:
    """'87.5 ± 2.1', in per cent or points; one seed without a deviation."""
    if spread["mean"] is None:
        return "–"
    scale = scale_of(spread)
    text = f"{scale * spread['mean']:.1f}"
    return text if spread["sd"] is None else f"{text} ± {scale * spread['sd']:.1f}"


def reach(spread: Mapping[str, Any]) -> str:
    """'80.1 to 91.9': the interval of one seed, or the least and largest of several; '' where there is none."""
    if spread["low"] is None or spread["high"] is None:
        return ""
    return f"{scale_of(spread) * spread['low']:.1f} to {scale_of(spread) * spread['high']:.1f}"


def scale_of(spread: Mapping[str, Any]) -> int:
    """Shares are shown in per cent, points as they are."""
    return 100 if spread["unit"] == "share" else 1


def unreadable(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """'untouched model, harmless known: 3 of 720 (2 not judged, 1 error)', for every figure that holds such rows."""
    said = []
    for line in lines:
        for name, each in line["measures"].items():
            unparsed, errors = each["unparsed"], each["errors"]
            if unparsed or errors:
                counts = f"{unparsed} not judged, {errors} error{'' if errors == 1 else 's'}"
                rows = each["n"] * line["seeds"]
                said.append(f"{line['label']}, {name.replace('_', ' ')}: {unparsed + errors} of {rows} ({counts})")
    return said


def footnote(lines: Sequence[Mapping[str, Any]]) -> str:
    """What the shares hold besides what was read; '' without lines."""
    if not lines:
        return ""
    found = "; ".join(unreadable(lines)) or "none"
    return f"Unreadable rows, over all seeds (they stay among the rows and are never a hit, nor a refusal): {found}."


def to_markdown(document: Mapping[str, Any]) -> str:
    """The table for a README or a paper, with what it rests on."""
    lines = document["summary"]["lines"]
    measures = list(lines[0]["measures"]) if lines else []
    head = ["arm", "seeds", *(name.replace("_", " ") for name in measures)]
    rows = [
        [line["label"], str(line["seeds"]), *(f"{words(each)} ({reach(each)})" for each in line["measures"].values())]
        for line in lines
    ]
    table = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    note = (
        "In % (points where a benchmark counts points); mean ± standard deviation over seeds. In brackets: the 95 % "
        "interval of a single measurement, or the least and largest seed."
    )
    said = ["", *(f"- {each}" for each in document["notes"])] if document["notes"] else []
    return "\n".join([*("| " + " | ".join(row) + " |" for row in table), "", f"{note} {footnote(lines)}", *said, ""])


def to_rich(document: Mapping[str, Any]) -> Table:
    """The table for a terminal."""
    from rich.table import Table

    lines = document["summary"]["lines"]
    measures = list(lines[0]["measures"]) if lines else []
    table = Table(title="Arms, in % (points where a benchmark counts points)", title_justify="left")
    table.caption = (
        "± standard deviation over seeds; below: 95 % interval of one seed, or least and largest seed\n"
        + footnote(lines)
    )
    table.add_column("arm", no_wrap=False)
    table.add_column("seeds", justify="right")
    for name in measures:
        table.add_column(name.replace("_", " "), justify="right")
    before = "arm"
    for line in lines:
        if line["kind"] != before:
            table.add_section()
            before = line["kind"]
        table.add_row(line["label"], str(line["seeds"]), *(_cell(line["measures"][name]) for name in measures))
    return table


def _cell(spread: Mapping[str, Any]) -> str:
    """Two short lines, the range in whole numbers: a terminal has eighty columns."""
    if spread["low"] is None or spread["high"] is None:
        return words(spread)
    low, high = (scale_of(spread) * spread[end] for end in ("low", "high"))
    return f"{words(spread)}\n[dim]{low:.0f}–{high:.0f}[/dim]"
