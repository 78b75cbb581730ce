"""`python -m engine.export CURATED --format F --out DIR`: a curated set in the layout that a trainer reads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config_file import merge
from engine.errors import UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = _flags.parser("export", "A curated set in the layout that a trainer reads (docs/exports.md).")
    parser.add_argument("curated", metavar="CURATED", help="folder sealed by curation.json")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _export(arguments))


def _export(arguments: dict[str, Any]) -> int:
    from engine.export.export import ExportConfig, export, summary

    curated, file = arguments.pop("curated"), arguments.pop("config", None)
    values = merge("export", arguments, file)
    missing = [f"--{name}" for name in ("format", "out") if values.get(name) is None]
    if missing:
        raise UsageError(f"export needs {' and '.join(missing)} (a flag, or a key of the section export in --config)")
    print("\n".join(summary(export(ExportConfig(curated=curated, **values)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
