"""The door of `python -m engine.list`; everything is in engine/commands/list.py."""

import sys

from engine.commands.list import main

if __name__ == "__main__":
    sys.exit(main())
