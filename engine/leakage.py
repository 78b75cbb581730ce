"""The door of `python -m engine.leakage`."""

import sys

from engine.commands.leakage import main

if __name__ == "__main__":
    sys.exit(main())
