"""The door of `python -m engine.job`."""

import sys

from engine.commands.job import main

if __name__ == "__main__":
    sys.exit(main())
