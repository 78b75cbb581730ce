"""The door of `python -m engine.annotate`."""

import sys

from engine.commands.annotate import main

if __name__ == "__main__":
    sys.exit(main())
