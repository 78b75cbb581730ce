"""`python -m engine.hydrate ORG/NAME --pictures DIR`: join a published set with the pictures that it only names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import HydrateConfig
from engine.config_file import merge


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write or the Hub failed, 2 usage, data or missing pictures."""
    parser = _flags.parser("hydrate", "Join the pictures of a published set again; every checksum is verified.")
    parser.add_argument("source", metavar="ORG/NAME|DIR", help="set on the Hub, or its folder")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _hydrate(arguments))


def _hydrate(arguments: dict[str, Any]) -> int:
    source, file = arguments.pop("source"), arguments.pop("config", None)
    config = HydrateConfig(**merge("hydrate", arguments, file))
    from engine.publishing.hydrate import hydrate, summary

    print("\n".join(summary(hydrate(source, config))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
