"""The table at the end of a run; of a large one in a process of its own, so that the driver's memory stays flat.

`python -m pipelines.closing OUT SOURCE MODEL` writes the pickled table to its standard output, for `table` to read.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import OutputError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store

if TYPE_CHECKING:
    from engine.evaluation.harmless import HarmlessTable

ROOT = Path(__file__).resolve().parents[1]
LARGE = 20_000
"""Rows from which a process of its own (most of a second) is worth its memory: about 0.15 kB a row."""


def table(out: str, manifest: dict[str, Any], source: str) -> HarmlessTable | None:
    """The harmless rates of a sealed run, or None where there is nothing to compare."""
    model = str(manifest["models"][0]["name"])
    if manifest["counts"]["transcripts"] < LARGE:
        return _read(out, manifest, source, model)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pipelines.closing", out, source, model]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment)
    if done.returncode:
        raise OutputError(f"{out}: sealed, but its closing table could not be made (exit code {done.returncode})")
    found: HarmlessTable | None = pickle.loads(done.stdout)
    return found


def _read(out: str, manifest: dict[str, Any], source: str, model: str) -> HarmlessTable | None:
    from engine.curation.reading import transcripts
    from engine.evaluation.harmless import COLUMNS, harmless_table

    rows = (row for batch in transcripts(Store(out), manifest, COLUMNS) for row in batch)
    return harmless_table(rows, source, model)


def main(out: str, source: str, model: str) -> None:
    """The child's side."""
    manifest = read_manifest(out)
    if manifest is None:
        raise OutputError(f"{out}: not sealed")
    sys.stdout.buffer.write(pickle.dumps(_read(out, manifest, source, model)))
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
    # Arrow's threads may still stand when the interpreter takes its libraries down, and abort a process that is done.
    os._exit(0)
