"""The door of `python -m engine.export`."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("engine.commands.export").main())
