"""The door of `python -m engine.evaluate`."""

import sys

from engine.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
