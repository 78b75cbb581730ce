"""OUT/loop.json: what has been done, and what came out. Written whole after every change; a kill loses nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schemas
from engine.errors import OutputError, UsageError
from engine.journal.store import Store
from engine.loop.stages import Stage
from engine.version import SCHEMA_VERSION, version

NAME = "loop.json"


class State:
    """The document, and the rules of reading it again."""

    def __init__(self, root: Path, config: Mapping[str, Any]) -> None:
        self.root = root
        self._store = Store(str(root))
        self.document = self._read() or {
            "kind": "loop",
            "schema_version": SCHEMA_VERSION,
            "engine_version": version(),
            "status": "running",
            "started_at": now(),
            "finished_at": None,
            "config": {},
            "stages": {},
            "checks": [],
            "notes": [],
            "results": [],
            "summary": {},
        }
        self.document |= {"status": "running", "finished_at": None, "config": dict(config), "checks": [], "notes": []}
        self.document["results"] = []

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._store.read(NAME))
            schemas.check("loop", found, where=self._store.path(NAME))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UsageError(
                f"{self._store.path(NAME)}: damaged ({error}); remove it: stages that are whole are found again by "
                "their own outputs"
            ) from error
        return dict(found)

    def is_done(self, stage: Stage) -> bool:
        """Whether the stage ended well and its product is there. UsageError where it was told something else then."""
        entry = self.document["stages"].get(stage.name)
        if entry is None:
            return False
        if entry["sha256"] != stage.digest(self.root):
            raise UsageError(
                f"{self.root}: stage {stage.name} was run with another configuration (see "
                f"{self.root}/stages/{stage.file_name}.yaml); give another --out, or remove the folder {stage.out} and "
                f"the entry in {NAME}"
            )
        return entry["status"] == "done" and stage.product.is_file()

    def begin(self, stage: Stage) -> None:
        before = self.document["stages"].get(stage.name, {})
        self.document["stages"][stage.name] = {
            "status": "running",
            "command": stage.command,
            "sha256": stage.digest(self.root),
            "out": os.path.relpath(stage.out, self.root),
            "attempts": before.get("attempts", 0) + 1,
            "started_at": now(),
            "finished_at": None,
            "seconds": before.get("seconds"),
            "exit_code": None,
        }
        self.save()

    def end(self, stage: Stage, code: int, seconds: float) -> None:
        entry = self.document["stages"][stage.name]
        entry |= {
            "status": "done" if code == 0 else "failed",
            "finished_at": now(),
            "seconds": round((entry["seconds"] or 0.0) + seconds, 3),
            "exit_code": code,
        }
        self.save()

    def save(self) -> None:
        """OutputError where the document is not what its schema says: a bug of ours."""
        try:
            schemas.check("loop", self.document, where=NAME)
        except schemas.SchemaError as error:
            raise OutputError(str(error)) from error
        self._store.write(NAME, json.dumps(self.document, indent=1).encode())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
