"""The door of `python -m engine.report`."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("engine.commands.report").main())
