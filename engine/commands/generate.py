"""`python -m engine.generate`: pictures and queries in, ECSO's safe answers and a data set out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import GenerateConfig
from engine.config_file import merge, read_section

EXAMPLES = """Pictures and queries in, safe answers and a data set out.

  python -m engine.generate                                   the embedded sample and model
  python -m engine.generate --queries vlguard --path DIR --model llava-hf/llava-1.5-7b-hf
  python -m engine.generate --queries folder --path DIR --backend openai --base-url http://localhost:8000/v1 --model M
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 crash or failed write, 2 usage or data, 3 breaker, 4 busy, 130/143 drained."""
    arguments = vars(_flags.parser("generate", EXAMPLES).parse_args(argv))
    return guarded(lambda: _generate(arguments))


def _generate(arguments: dict[str, object]) -> int:
    file = arguments.pop("config", None)
    config = GenerateConfig(**merge("generate", arguments, None if file is None else str(file)))
    if file is not None and not config.no_curate and read_section(str(file), "curate"):
        print(
            f"--config {file}: the data set of this run is curated with the usual options; its section curate is for "
            f"python -m engine.curate RUN --config {file}",
            file=sys.stderr,
        )
    from pipelines.run import run_command

    return run_command(config)


if __name__ == "__main__":
    sys.exit(main())
