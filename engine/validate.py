"""The door of `python -m engine.validate`."""

import sys

from engine.commands.validate import main

if __name__ == "__main__":
    sys.exit(main())
