"""`python -m engine.report CURATED`: one self-contained page about a curated data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from engine.commands._exits import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = argparse.ArgumentParser(
        prog="python -m engine report",
        description="Write report.html: one self-contained page, pictures blurred and harmful text closed.",
    )
    parser.add_argument("curated", metavar="CURATED", help="folder with curation.json: a run, or curate's --out")
    parser.add_argument(
        "--run",
        metavar="RUN",
        action="append",
        default=[],
        help="folder of the sealed run that was curated, where it is another one (repeatable)",
    )
    parser.add_argument("--out", metavar="FILE", default=None, help="write this file (default: CURATED/report.html)")
    arguments = parser.parse_args(argv)
    return guarded(lambda: _report(arguments))


def _report(arguments: argparse.Namespace) -> int:
    from engine.report.write import write_report

    print(write_report(arguments.curated, arguments.run, arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
