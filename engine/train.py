"""The door of `python -m engine.train`."""

import sys

from engine.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
