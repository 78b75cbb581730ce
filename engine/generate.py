"""The door of `python -m engine.generate`."""

import sys

from engine.commands.generate import main

if __name__ == "__main__":
    sys.exit(main())
