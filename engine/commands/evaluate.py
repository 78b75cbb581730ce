"""`python -m engine.evaluate`: benchmarks answered, judged and scored; and two evaluations compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import EvaluateConfig
from engine.config_file import merge
from engine.errors import UsageError

EXAMPLES = """Answer benchmarks, judge the answers, score them; or compare two evaluations.

  python -m engine.evaluate --benchmark vlguard=engine/tiny/sample --strategy direct,ecso --judge world,keywords
  python -m engine.evaluate --model llava-hf/llava-1.5-7b-hf --benchmark mm_safetybench=DIR --strategy direct,ecso
      --judge llm --judge-model M --judge-backend openai --judge-base-url http://localhost:8000/v1
  python -m engine.evaluate --compare evaluations/before evaluations/after
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 crash or failed write, 2 usage or data, 3 breaker, 4 busy, 130/143 interrupted."""
    parser = _flags.parser("evaluate", EXAMPLES)
    parser.add_argument(
        "--compare", nargs=2, metavar="DIR", help="two evaluations (DIR, or DIR@STRATEGY) by their rows"
    )
    parser.add_argument("--allow-different", action="store_true", help="with --compare: on the rows that both have")
    parser.add_argument("--whole", action="store_true", help="print every group, not only the sums")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _compare(arguments) if "compare" in arguments else _evaluate(arguments))


def _evaluate(arguments: dict[str, Any]) -> int:
    file, whole = arguments.pop("config", None), arguments.pop("whole", False)
    if arguments.pop("allow_different", False):
        raise UsageError("--allow-different goes with --compare")
    config = EvaluateConfig(**merge("evaluate", arguments, file))
    from engine.evaluation.planning import out_of
    from pipelines.evaluation import run

    document = run(config)
    from rich.console import Console

    from engine.evaluation import overview
    from engine.evaluation.table import tables

    console = Console()
    for table in (*tables(document, whole=whole), overview.table(document)):
        if table is not None:
            console.print(table)
    out = out_of(config)
    console.print(f"in {out}: scores.json, evaluation.html", highlight=False, soft_wrap=True)
    return 0


def _compare(arguments: dict[str, Any]) -> int:
    from rich.console import Console

    from engine.evaluation.compare import compare, write
    from engine.evaluation.table import comparison_tables

    known = ("compare", "allow_different", "whole", "out")
    given = [key for key, value in arguments.items() if key not in known and value is not None]
    others = [f"--{key.replace('_', '-')}" for key in given]
    if others:
        raise UsageError(
            f"{', '.join(others)}: --compare reads two finished evaluations, and takes only --out, "
            "--allow-different and --whole with it"
        )
    first, second = arguments["compare"]
    found = compare(first, second, allow_different=arguments.get("allow_different", False))
    console = Console()
    for table in comparison_tables(found, whole=arguments.get("whole", False)):
        console.print(table)
    if arguments.get("out"):
        console.print(f"in {write(arguments['out'], found)}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
