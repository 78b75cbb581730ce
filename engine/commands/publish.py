"""`python -m engine.publish RUN --repo ORG/NAME`: a sealed run, or a trained model, on the Hugging Face Hub."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import PublishConfig
from engine.config_file import merge


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the Hub failed or a failed write, 2 usage, data or a token that may not do it."""
    parser = _flags.parser(
        "publish",
        "Push the supervised rows of a sealed, curated run to the Hub: private, without pictures, all or nothing.",
    )
    parser.add_argument("run_folder", metavar="RUN", nargs="?", help="folder of a sealed, curated run")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _publish(arguments))


def _publish(arguments: dict[str, Any]) -> int:
    run, file = arguments.pop("run_folder", None), arguments.pop("config", None)
    config = PublishConfig(**merge("publish", arguments, file))
    from engine.publishing.publish import publish, summary

    print("\n".join(summary(publish(run, config))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
