"""The door of `python -m engine.calibrate`; everything is in engine/commands/calibrate.py."""

import sys

from engine.commands.calibrate import main

if __name__ == "__main__":
    sys.exit(main())
