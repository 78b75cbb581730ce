"""`python -m engine.list [KIND]`: every part by name, its source and licence, and what it needs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from engine.commands._exits import guarded

KINDS = ("strategies", "judges", "sources", "benchmarks", "filters", "backends")
EXAMPLES = """Every strategy, judge, source, benchmark, filter and backend: what it is, its paper and licence, whether
it is gated, and what it needs. What installed distributions bring stands behind the built-in ones (docs/extending.md).

  python -m engine.list judges
  python -m engine.list sources --json
  python -m engine.list --markdown > docs/catalogue.md     the built-in ones, as a page
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 usage, or an installed part that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.list", description=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object: kind -> list of parts")
    form.add_argument("--markdown", action="store_true", help="docs/catalogue.md, of the built-in parts of every kind")
    arguments = parser.parse_args(argv)
    if arguments.markdown and arguments.kind:
        parser.error("--markdown writes the page of all kinds: leave KIND out")
    return guarded(lambda: _list(arguments))


def _list(arguments: argparse.Namespace) -> int:
    from engine import catalogue

    if arguments.markdown:
        print(catalogue.markdown(), end="")
        return 0
    found = {kind: catalogue.lines(kind) for kind in ([arguments.kind] if arguments.kind else KINDS)}
    if arguments.json:
        import json

        plain = {kind: [line.plain() for line in lines] for kind, lines in found.items()}
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        _show("\n\n".join(catalogue.text(kind, lines) for kind, lines in found.items()))
    problems = [line.part for lines in found.values() for line in lines if line.part and line.part.problem]
    for part in problems:
        print(f"ecso: {part.words}: {part.problem}", file=sys.stderr)
    return 2 if problems else 0


def _show(text: str) -> None:
    """A long text is read through `head` or `less`: that they close early is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
