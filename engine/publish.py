"""The door of `python -m engine.publish`; everything is in engine/commands/publish.py."""

import sys

from engine.commands.publish import main

if __name__ == "__main__":
    sys.exit(main())
