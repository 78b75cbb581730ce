"""The tiny world's held-out sets, drawn before the first stage."""

from __future__ import annotations

import shutil
from pathlib import Path

from engine.errors import UsageError


def draw_heldout(out: Path) -> None:
    """`python -m engine.tiny.heldout --out OUT` beside it, then renamed."""
    from engine.tiny import WORLD_FILE
    from engine.tiny.heldout import write_heldout
    from engine.tiny.world import load_world

    if out.exists():
        raise UsageError(
            f"loop.draw_heldout {out}: is there already, and not from this loop; remove it, or leave it out"
        )
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_heldout(load_world(WORLD_FILE), part)
    part.rename(out)
