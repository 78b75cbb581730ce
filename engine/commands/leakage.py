"""`python -m engine.leakage index PATH`: hashes of a benchmark, against which curation checks its rows."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from engine.commands._exits import guarded

SHOWN = 10

WORDS = """Hashes of a benchmark, against which curation checks its rows.

  python -m engine.leakage index data/VLGuard --name vlguard-test --out vlguard-test.leak
  python -m engine.leakage index MM-SafetyBench/ --name mm-safetybench --out mm-safetybench.leak

The file holds no text and no picture; what can be guessed from it is said in docs/decisions/0007-dedup.md.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.leakage", description=WORDS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    index = actions.add_parser("index", help="make an index of a benchmark")
    index.add_argument("path", metavar="PATH", help="folder or file of the benchmark")
    index.add_argument("--name", default=None, help="what reports call it (default: the path's own name)")
    index.add_argument("--out", required=True, metavar="FILE", help="where the index goes")
    index.add_argument("--split", default=None, help="which split (default: test, where the layout has splits)")
    index.add_argument("--columns", default="", metavar="FIELD=COLUMN,…", help="as in generate: text=…,image=…")
    arguments = parser.parse_args(argv)
    return guarded(lambda: _index(arguments))


def _index(arguments: argparse.Namespace) -> int:
    from engine.curation.leakage import build
    from engine.curation.leakage.file import save

    lost: list[str] = []
    made = build(arguments.path, arguments.name, arguments.split, arguments.columns, lost)
    save(made, arguments.out)
    if lost:
        told = ", ".join(lost[:SHOWN]) + (f" and {len(lost) - SHOWN:,} more" if len(lost) > SHOWN else "")
        print(f"warning: {len(lost):,} places could not be read, and are not in the index: {told}", file=sys.stderr)
    print(f"{arguments.out}: {made.name}, {len(made.texts.keys):,} texts · {len(made.pictures):,} pictures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
