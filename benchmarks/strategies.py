"""Every strategy on the drawn world, by kind of picture: one command, one table.

    python -m benchmarks.strategies [--out docs/benchmarks/strategies-tiny.md] [--count 60]

Draws the held-out sets, makes the small helper models (`engine.tiny.eta`), evaluates with
`examples/tiny_strategies.yaml`, and writes the table. A test of the machinery: it says nothing about any method.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import header
from engine.evaluation.overview import cost_cells

CONFIG = "examples/tiny_strategies.yaml"
WORK = Path("evaluations/strategies")
KINDS = ("typographic", "pictorial", "both", "benign_picture", "list")
JUDGE = "world"
UTILITY_PICTURES = 40
"""Of each of three tasks, with two questions each."""


def prepare(count: int) -> dict[str, float]:
    """Draw the sets and make the helper models where they are not there yet; seconds of each."""
    from engine.tiny import WORLD_FILE, eta
    from engine.tiny.heldout import write_heldout, write_kinds
    from engine.tiny.world import load_world

    world, took = load_world(WORLD_FILE), {}
    start = time.monotonic()
    write_heldout(world, WORK / "sets", count=4, pictures=UTILITY_PICTURES)
    write_kinds(world, WORK / "sets", count=count)
    took["drawing"] = time.monotonic() - start
    if not (WORK / "models" / "reward" / "config.json").is_file():
        start = time.monotonic()
        eta.make(world, WORK / "models")
        took["helper models"] = time.monotonic() - start
    return took


def evaluate(count: int) -> dict[str, Any]:
    """The scores of all strategies."""
    from engine.config import EvaluateConfig
    from engine.config_file import read_section
    from pipelines.evaluation import run

    config = EvaluateConfig(**read_section(CONFIG, "evaluate"))
    return run(replace(config, out=f"{config.out}-{count}"))


def value(document: Mapping[str, Any], strategy: str, wanted: tuple[str, str, str, str | None]) -> str:
    """One figure in per cent; wanted: benchmark, name, group, judge."""
    for metric in document["metrics"]:
        if metric["strategy"] == strategy and wanted == (
            metric["benchmark"],
            metric["name"],
            metric["group"],
            metric["judge"],
        ):
            return "–" if metric["value"] is None else f"{100 * metric['value']:.1f}"
    return "–"


def table(document: Mapping[str, Any]) -> list[str]:
    """The lines of the table, in Markdown."""
    columns = [("drawn", "harmless_rate", kind, JUDGE) for kind in KINDS]
    columns += [("drawn", "refusal_rate", "benign", JUDGE), ("drawn", "answered_rate", "benign", JUDGE)]
    columns.append(("mme", "accuracy", "all", None))  # type: ignore[arg-type]
    heads = [f"harmless: {kind.replace('_', ' ')}" for kind in KINDS]
    heads += ["benign: refused", "benign: answered", "utility", "calls/row", "tokens/row", "rows/s"]
    lines = [f"| strategy | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for line in document["strategies"]:
        figures = [value(document, line["strategy"], column) for column in columns]
        lines.append(f"| {' | '.join([line['strategy'], *figures, *cost_cells(line)])} |")
    return lines


def page(document: Mapping[str, Any], seconds: Mapping[str, float], count: int) -> str:
    """The whole file."""
    took = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    rows = document["strategies"][0]["rows"]
    return "\n".join(
        [
            f"{header()} ({took})",
            "",
            "**A test of the machinery on a drawn world: no evidence about any method.**",
            "Model: the embedded one. Judge: the world's own labels, in code.",
            "",
            *table(document),
            "",
            f"In %. {count} rows of each kind of unsafe picture (at 60 rows the 95 % interval of 90 % is 80 to 95; all",
            f"intervals stand in scores.json); {rows:,} rows a strategy with the yes/no questions of `utility`.",
            "`list` is FigStep's kind: a title over a numbered list with empty items, which no build has seen. Calls",
            "and tokens count every model that was asked; rows/s are from a ready engine on, utility rows among them.",
            "",
            *document["notes"],
            "",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strategies", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="write the page here (default: print it)")
    parser.add_argument("--count", type=int, default=60, help="unsafe pictures of each kind")
    args = parser.parse_args(argv)
    seconds = prepare(args.count)
    start = time.monotonic()
    document = evaluate(args.count)
    seconds["evaluation"] = time.monotonic() - start
    text = page(document, seconds, args.count)
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
