"""The scores as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.evaluation.compare import Compared, Difference, p_words

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = "–"
SUMS = ("all", "macro", "perception", "cognition", "overall", "total", "safe", "unsafe")
"""Groups that a short table shows."""
FEW = 40
"""So many figures are shown in any case."""


def figure(metric: Mapping[str, Any]) -> str:
    """`61.9 [55.2, 68.2]`: per cent for shares, points as they are."""
    scale = 100 if metric["unit"] == "share" else 1
    if metric["value"] is None:
        return NOTHING
    text = f"{scale * metric['value']:.1f}"
    return text if metric["low"] is None else f"{text} [{scale * metric['low']:.1f}, {scale * metric['high']:.1f}]"


def tables(document: Mapping[str, Any], *, whole: bool = False) -> list[Table]:
    """One table a benchmark: metrics down, by judge; strategies across. `whole`: every group, not only the sums."""
    strategies = list(dict.fromkeys(run["strategy"] for run in document["runs"]))
    return [_table(document, benchmark, strategies, whole) for benchmark in document["benchmarks"]]


def _table(document: Mapping[str, Any], benchmark: Mapping[str, Any], strategies: Sequence[str], whole: bool) -> Table:
    from rich.table import Table

    mine = [metric for metric in document["metrics"] if metric["benchmark"] == benchmark["label"]]
    table = Table(
        title=f"{benchmark['label']}, {document['name']}",
        caption=_caption(document, benchmark),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("metric", overflow="fold")
    for strategy in strategies:
        table.add_column(strategy, justify="right", no_wrap=True)
    counts = [("rows", "n")] + [(name, name) for name in ("unparsed", "errors") if any(each[name] for each in mine)]
    for name, _ in counts:
        table.add_column(name, justify="right", no_wrap=True)
    for judge in dict.fromkeys(metric["judge"] for metric in mine):
        table.add_section()
        table.add_row(_by(judge, mine), style="bold")
        of_judge = [metric for metric in mine if metric["judge"] == judge]
        for label, found in lines(of_judge, whole=whole or len(mine) <= FEW):
            figures = [figure(found[each]) if each in found else NOTHING for each in strategies]
            table.add_row(label, *figures, *(_counts(found, strategies, key) for _, key in counts))
    return table


def _by(judge: str | None, metrics: Sequence[Mapping[str, Any]]) -> str:
    if judge is None:
        return "scored by code"
    same = any(metric["same_model"] for metric in metrics if metric["judge"] == judge)
    return f"judge: {judge}{' (the same model)' if same else ''}"


def lines(metrics: Sequence[Mapping[str, Any]], *, whole: bool) -> list[tuple[str, dict[str, Mapping[str, Any]]]]:
    """(label, strategy -> metric), one a metric; with `whole` every group, else the sums."""
    by_name: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for metric in metrics:
        if whole or metric["group"].startswith(SUMS):
            key = (metric["name"], metric["part"], metric["group"])
            by_name.setdefault(key, {})[metric["strategy"]] = metric
    parts = {metric["part"] for metric in metrics}
    found = []
    for (name, part, group), each in by_name.items():
        words = [name, *([part] if len(parts) > 1 else []), *([group] if group != "all" else [])]
        found.append((" · ".join(words), each))
    return found


def _counts(found: Mapping[str, Mapping[str, Any]], strategies: Sequence[str], name: str) -> str:
    counts = [found[strategy][name] for strategy in strategies if strategy in found]
    if len(set(counts)) == 1:
        return f"{counts[0]:,}" if counts[0] or name == "n" else ""
    return "/".join(f"{count:,}" for count in counts)


def _caption(document: Mapping[str, Any], benchmark: Mapping[str, Any]) -> str:
    words = ["shares in %, with 95 % intervals; errors and unreadable judgements count as no hits"]
    for line in document["agreement"]:
        if line["benchmark"] == benchmark["label"]:
            kappa = "not defined" if line["kappa"] is None else f"{line['kappa']:.2f}"
            words.append(
                f"{line['strategy']}: {line['a']} and {line['b']} agree on {line['same']:,} of {line['n']:,} "
                f"({line['question']}; kappa {kappa})"
            )
    judges = {judge["label"] for run in _runs(document, benchmark) for judge in run["judges"] if judge["same_model"]}
    if judges:
        words.append(f"{', '.join(sorted(judges))}: the model that answered judged itself; ask another one too")
    words += [note for note in document.get("notes", ()) if note.startswith(f"{benchmark['label']}: ")]
    if document["scripted"]:
        words.append("a scripted run: these figures mean nothing")
    return "\n".join(words)


def _runs(document: Mapping[str, Any], benchmark: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [run for run in document["runs"] if run["benchmark"] == benchmark["label"]]


def comparison_tables(found: Sequence[Compared], *, whole: bool = False) -> list[Table]:
    """One table a benchmark and pair of strategies, with what each difference is worth in words."""
    return [_comparison(each, whole) for each in found]


def _comparison(found: Compared, whole: bool) -> Table:
    from rich.table import Table

    shown = found.differences
    if not whole and len(shown) > FEW:
        shown = tuple(line for line in shown if line.name.group.startswith(SUMS))
    table = Table(
        title=f"{found.benchmark}: {found.a.name} → {found.b.name}, {len(found.rows):,} rows in pairs",
        caption="\n".join(_comparison_notes(found)),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("metric", overflow="fold")
    for name in ("before", "after", "change, 95 %", "+/−", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    parts = {line.name.part for line in found.differences}
    for judge in dict.fromkeys(line.name.judge for line in shown):
        table.add_section()
        table.add_row("scored by code" if judge is None else f"judge: {judge}", style="bold")
        for line in shown:
            if line.name.judge == judge:
                part = [line.name.part] if len(parts) > 1 else []
                group = [line.name.group] if line.name.group != "all" else []
                table.add_row(" · ".join([line.name.name, *part, *group]), *_change(line))
    return table


def _change(line: Difference) -> list[str]:
    scale = 100 if line.unit == "share" else 1
    change = f"{scale * (line.b - line.a):+.1f}"
    if line.low is not None and line.high is not None and line.low < line.high:
        change += f" [{scale * line.low:+.1f}, {scale * line.high:+.1f}]"
    turned = "" if line.gained is None else f"{line.gained:,}/{line.lost:,}"
    verdict = "noise" if line.is_noise else "clear"
    p = p_words(line.p).removeprefix("= ")
    return [
        f"{scale * line.a:.1f}",
        f"{scale * line.b:.1f}",
        change,
        turned,
        p,
        verdict if line.a != line.b else "same",
    ]


def _comparison_notes(found: Compared) -> list[str]:
    """What a reader must know before believing a line."""
    notes = [
        "shares in %; +/−: rows that became a hit, and that no longer are one; p: McNemar (exact) where rows are "
        "counted, else paired bootstrap; noise: p > 0.05, a difference that chance explains",
        f"{len(found.differences):,} figures are compared: about one in twenty has p < 0.05 by chance alone",
    ]
    if found.left_out:
        notes.append(f"{found.left_out:,} rows are on one side only, and left out")
    return [*notes, *found.notes]
