"""Errors become exit codes here, and only here."""

from __future__ import annotations

import sys
from collections.abc import Callable

from engine.errors import EcsoError


def guarded(command: Callable[[], int]) -> int:
    """Run a command; an error of ours is one clear message and its exit code, anything else a traceback and 1."""
    try:
        return command()
    except EcsoError as error:
        print(f"ecso: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("ecso: interrupted", file=sys.stderr)
        return 130
