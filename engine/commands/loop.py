"""`python -m engine.loop --config loop.yaml`: rounds, arms, seeds and ablations, each stage a fresh process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from engine.commands._exits import guarded

WORDS = """Rounds of generate, curate, train and evaluate, each stage a fresh process; the same command goes on.

  python -m engine.loop --config examples/tiny_loop.yaml --out loops/tiny
  python -m engine.loop --config examples/tiny_loop.yaml --out loops/short --short
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write or stage, 2 usage or data, 3 breaker, 4 busy, 130/143 stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.loop",
        description=WORDS,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", default=None, help="YAML: generate, curate, train, evaluate, loop")
    parser.add_argument("--out", metavar="DIR", help="folder of the loop (over loop.out)")
    parser.add_argument("--rounds", type=int, metavar="N", help="over loop.rounds")
    parser.add_argument("--seeds", metavar="N,…", type=_numbers, help="over loop.seeds")
    parser.add_argument("--arms", metavar="NAME,…", type=lambda text: text.split(","), help="over loop.arms")
    parser.add_argument("--short", action="store_true", help="with the smaller sections of loop.short")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _loop(arguments))


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _loop(arguments: dict[str, Any]) -> int:
    from engine.loop.plan import read
    from engine.loop.run import run

    file, short = arguments.pop("config"), arguments.pop("short", False)
    config, sections = read(file, arguments, short=short)
    document = run(config, sections)
    from rich.console import Console

    from engine.loop.summary import to_rich

    console = Console()
    console.print(to_rich(document))
    for note in document["notes"]:
        console.print(note, highlight=False)
    console.print(f"in {config.out} (loop.html, loop.json)", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
