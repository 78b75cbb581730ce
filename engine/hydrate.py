"""The door of `python -m engine.hydrate`; everything is in engine/commands/hydrate.py."""

import sys

from engine.commands.hydrate import main

if __name__ == "__main__":
    sys.exit(main())
