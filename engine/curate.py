"""The door of `python -m engine.curate`."""

import sys

from engine.commands.curate import main

if __name__ == "__main__":
    sys.exit(main())
