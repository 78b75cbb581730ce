"""`engine.loop`: lock the folder, go through the loop, keep loop.json and loop.html up to date."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.config import LoopConfig
from engine.journal.lock import RunLock
from engine.journal.store import Store
from engine.loop.page import write_page
from engine.loop.plan import Sections
from engine.loop.rounds import Loop
from engine.loop.runner import Runner, process
from engine.loop.state import State, now
from engine.loop.summary import summarise


def run(
    config: LoopConfig, sections: Sections, runner: Runner = process, say: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Everything that is not done yet; the document of loop.json. `runner` runs a stage: a process, or a test's own.

    Raises UsageError before anything is started, and what a stage's failure means (engine.loop.runner.failure).
    """
    root = Path(str(config.out)).resolve()
    store = Store(str(root))
    store.ensure()
    with RunLock(store, if_running="fail"):
        state = State(root, _config(config, sections))
        loop = Loop(config, sections, state, runner, say or _say)

        def refresh() -> None:
            state.document["summary"] = summarise(state.document["results"], config.rounds)
            state.save()
            write_page(state)

        loop.after_result = refresh
        try:
            loop.run()
        except BaseException:
            state.document["status"] = "failed"
            state.save()
            raise
        state.document |= {"status": "complete", "finished_at": now()}
        refresh()
        return state.document


def _config(config: LoopConfig, sections: Sections) -> dict[str, Any]:
    names = ("generate", "curate", "train", "evaluate")
    whole = {"loop": asdict(config), **{name: dict(getattr(sections, name)) for name in names}}
    return dict(json.loads(json.dumps(whole)))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
