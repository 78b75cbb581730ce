"""`python -m engine.curate RUN [RUN…]`: from sealed transcripts to data sets, without a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import CurateConfig
from engine.config_file import merge


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = _flags.parser("curate", "From sealed runs to sft/, preference/, rejected/ and a report.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a sealed run (several need --out)")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _curate(arguments))


def _curate(arguments: dict[str, Any]) -> int:
    runs, file = arguments.pop("runs"), arguments.pop("config", None)
    config = CurateConfig(**merge("curate", arguments, file))
    from pipelines import curation

    document = curation.run(runs, config)
    for step in document["funnel"]:
        if step["dropped"]:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(step["reasons"].items()))
            print(f"{step['step']:>16}  {step['rows_in']:>9,} -> {step['rows_out']:>9,}  ({reasons})")
    print(" · ".join(f"{value:,} {name}" for name, value in document["counts"].items()))
    print(f"in {config.out or runs[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
