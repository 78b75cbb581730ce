"""`python -m engine.annotate RUN --judge NAME …`: bring judges to a sealed run, through any backend."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import schemas
from engine.commands import _flags
from engine.commands._exits import guarded

EXAMPLES = """Judge the responses of a sealed run; RUN/annotations/ is read by curate and evaluate.

  python -m engine.annotate RUN --judge refusal                                 by phrases, without a model
  python -m engine.annotate RUN --judge harm --model llava-hf/llava-1.5-13b-hf  a second model's verdict
  python -m engine.annotate RUN --judge refusal_llm --model M --backend openai --base-url http://localhost:8000/v1
  python -m engine.annotate RUN --judge embedding --model M --backend openai --base-url http://localhost:8000/v1
  python -m engine.annotate RUN --judge embedding=vectors.parquet               made elsewhere
"""
SHARED = (
    "revision trust_remote_code backend base_url api_key_env gpus_per_worker tensor_parallel engine_arg "
    "chat_template_kwargs picture_prep seed max_error_rate scripted_harmful"
)
"""Flags that mean what they mean to generate."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data, 3 breaker, 4 the run is busy, 130 Ctrl-C."""
    arguments = vars(_parser().parse_args(argv))
    return guarded(lambda: _annotate(arguments))


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m engine.annotate",
        description=EXAMPLES,
        argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("run", metavar="RUN", help="folder of a sealed run")
    made.add_argument(
        "--judge",
        action="append",
        metavar="NAME[=FILE]",
        help="harm, refusal, refusal_llm, embedding, or NAME=FILE for a Parquet file (repeatable)",
    )
    made.add_argument("--field", metavar="FIELD", help="final_response, direct_response or query (default: by judge)")
    made.add_argument("--model", metavar="MODEL", help="the judging model: tiny, a folder, a Hub id, a server's name")
    made.add_argument("--workers", type=int, metavar="N", help="workers, each with its own model (default: 1)")
    made.add_argument("--threshold", type=float, metavar="P", help="yes from this probability on (default: 0.5)")
    made.add_argument("--force", action="store_true", help="forget what these judges said before, and ask all again")
    made.add_argument("--allow-partial", action="store_true", help="read a run that is not complete")
    rules = schemas.load("config")["properties"]["generate"]["properties"]
    for key in SHARED.split():
        _flags._add(made, key, rules[key])
    return made


def _annotate(arguments: dict[str, Any]) -> int:
    from engine.judges.planning import AnnotateConfig
    from pipelines.annotation import annotate

    arguments["judge"] = tuple(arguments.get("judge", ()))
    for report in annotate(AnnotateConfig(**arguments)):
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
