"""`python -m engine.annotate RUN --judge NAME …`: bring judges to a sealed run, through any backend."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config_file import merge

EXAMPLES = """Judge the responses of a sealed run; RUN/annotations/ is read by curate and evaluate.

  python -m engine.annotate RUN --judge refusal                                 by phrases, without a model
  python -m engine.annotate RUN --judge harm --model llava-hf/llava-1.5-13b-hf  a second model's verdict
  python -m engine.annotate RUN --judge refusal_llm --model M --backend openai --base-url http://localhost:8000/v1
  python -m engine.annotate RUN --judge embedding --model M --backend openai --base-url http://localhost:8000/v1
  python -m engine.annotate RUN --judge embedding=vectors.parquet               made elsewhere
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data, 3 breaker, 4 the run is busy, 130 Ctrl-C."""
    parser = _flags.parser("annotate", EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="folder of a sealed run")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _annotate(arguments))


def _annotate(arguments: dict[str, Any]) -> int:
    from engine.judges.planning import AnnotateConfig
    from pipelines.annotation import annotate

    run, file = arguments.pop("run"), arguments.pop("config", None)
    values = merge("annotate", arguments, file)
    values["judge"] = tuple(values.get("judge", ()))
    for report in annotate(AnnotateConfig(run, **values)):
        print(f"{report.judge} on {report.field} ({report.version}): {_words(report)}")
    return 0


def _words(report: Any) -> str:
    parts = [f"{report.judged:,} judged", f"{report.before:,} before", f"{report.eligible:,} rows in the run"]
    parts += [f"{count:,} {verdict}" for verdict, count in report.verdicts.most_common()]
    if report.failed:
        parts.append(f"{report.failed:,} failed (asked again by the same command)")
    if report.others:
        parts.append(f"{report.others:,} of other runs left out")
    return " · ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
