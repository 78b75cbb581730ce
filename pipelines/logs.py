"""What engines print goes to OUT/logs, so that the terminal stays quiet."""

from __future__ import annotations

import os


def to_logs(folder: str | None, name: str) -> None:
    """Send this process's standard output and error to FOLDER/NAME.log (only where that is a local folder)."""
    if folder is None:
        return
    os.makedirs(folder, exist_ok=True)
    target = os.open(os.path.join(folder, f"{name}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(target, stream)
