"""The tiny world's held-out sets, drawn before the first stage; loops of one world, seed and count share a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from engine.errors import UsageError

MARKER = "drawn.json"
"""In the drawn folder: what it was drawn from."""


def draw_heldout(out: Path, seed: int, loop: Path) -> None:
    """`python -m engine.tiny.heldout --out OUT --seed SEED` beside it, marked, then renamed. A folder with the same
    marker is taken as it is: another loop's, or this one's before it was killed. UsageError as `check_drawn`.

    `loop`: the folder of the loop that draws, which holds its lock. Each loop draws into a folder of its own, so of two
    at the same moment one is first to rename, and the other takes what the first has drawn.
    """
    from engine.tiny import WORLD_FILE, heldout
    from engine.tiny.world import load_world

    if out.exists():
        check_drawn(out, seed)
        return
    mine = hashlib.sha256(str(loop.resolve()).encode()).hexdigest()[:12]
    part = out.with_name(f".{out.name}.{mine}.part")
    shutil.rmtree(part, ignore_errors=True)
    heldout.write_heldout(load_world(WORLD_FILE), part, seed, heldout.COUNT)
    (part / MARKER).write_text(json.dumps(marker(seed), indent=1) + "\n", "utf-8")
    try:
        part.rename(out)
    except OSError:
        if not out.exists():
            raise
        shutil.rmtree(part)
        check_drawn(out, seed)


def check_drawn(out: Path, seed: int) -> None:
    """UsageError where `out` was not drawn from this world, seed and count, with both named."""
    wanted = marker(seed)
    try:
        found = json.loads((out / MARKER).read_text("utf-8"))
    except FileNotFoundError:
        found = f"no {MARKER}"
    except ValueError as error:
        found = f"{MARKER} is damaged ({error})"
    if found != wanted:
        raise UsageError(
            f"loop.draw_heldout {out}: is there already, and drawn from something else: found {found}, expected "
            f"{wanted}; name another folder (in evaluate.benchmark too), or remove this one"
        )


def marker(seed: int) -> dict[str, Any]:
    """What decides every drawing and question of the sets."""
    from engine.tiny import WORLD_FILE, heldout

    digest = hashlib.sha256(Path(WORLD_FILE).read_bytes()).hexdigest()
    return {"kind": "heldout", "world_sha256": digest, "seed": seed, "count": heldout.COUNT}
