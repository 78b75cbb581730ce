"""`python -m engine.export CURATED --format F --out DIR`: a curated set in the layout that a trainer reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from engine.commands._exits import guarded

WORDS = {
    "--format": "the trainer's layout: trl, trl-dpo, trl-kto, llava, llamafactory or swift",
    "--out": "a new folder, or that of a former export, which is replaced",
    "--mix": "utility rows: LLaVA-instruct JSON (pictures next to it or in a folder next to it), JSONL or Parquet",
    "--mix-rows": "how many of them; the same rows for the same seed",
    "--two-turn": "llava: two queries on one picture become one conversation, as VLGuard's converter does",
    "--seed": "choice of utility rows, order of two-turn and KTO rows (default: 0)",
    "--allow-partial": "export a set that was curated from an unfinished run",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = argparse.ArgumentParser(prog="python -m engine.export", description=__doc__)
    parser.add_argument("curated", metavar="CURATED", help="folder sealed by curation.json")
    parser.add_argument("--format", required=True, metavar="FORMAT", help=WORDS["--format"])
    parser.add_argument("--out", required=True, metavar="DIR", help=WORDS["--out"])
    parser.add_argument("--mix", metavar="PATH", help=WORDS["--mix"])
    parser.add_argument("--mix-rows", type=int, metavar="N", help=WORDS["--mix-rows"])
    parser.add_argument("--seed", type=int, default=0, metavar="SEED", help=WORDS["--seed"])
    for flag in ("--two-turn", "--allow-partial"):
        parser.add_argument(flag, action="store_true", help=WORDS[flag])
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _export(arguments))


def _export(arguments: dict[str, Any]) -> int:
    from engine.export.export import ExportConfig, export, summary

    print("\n".join(summary(export(ExportConfig(**arguments)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
