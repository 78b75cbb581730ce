"""`python -m engine.curate RUN`: from sealed transcripts to data sets, without a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import CurateConfig, merge


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = _flags.parser("curate", "From the transcripts of a sealed run to sft/, preference/ and rejected/.")
    parser.add_argument("run", metavar="RUN", help="folder of a sealed run")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _curate(arguments))


def _curate(arguments: dict[str, Any]) -> int:
    run, file = arguments.pop("run"), arguments.pop("config", None)
    config = CurateConfig(**merge("curate", arguments, file))
    from engine.curation.curate import curate

    counts = curate(run, config)["counts"]
    print(" · ".join(f"{value:,} {name}" for name, value in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
