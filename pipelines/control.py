"""One tiny actor that tells every read task and worker when to stop, and hears what no row can carry."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ray

DEATHS_EACH = 3
"""How many workers, for each of a run, may end in a row with nothing done in between."""
SUSPECT = 2
"""In flight at so many ends of an engine, a row may well be their cause."""


class Control:
    """State of a run: `stop` (a reason) and the first `fatal` message of a worker that cannot start."""

    def __init__(self, workers: int = 1) -> None:
        self._deaths = DEATHS_EACH * workers
        self._starts = 0
        self._unfit = ""
        self._ends: Counter[str] = Counter()
        self._stop: str | None = None
        self._fatal: str | None = None
        self._stats: dict[str, dict[str, Any]] = {}

    def stop(self, reason: str) -> None:
        """Start no further row; those in flight finish. The first reason stands."""
        self._stop = self._stop or reason

    def fatal(self, message: str) -> None:
        """A worker cannot be used at all (wrong model, no memory): a usage error, not a crash to heal."""
        self._fatal = self._fatal or message
        self.stop("fatal")

    def unfit(self, message: str) -> bool:
        """A worker cannot load its model; whether the run ends. Where none ever could, that is `fatal`; where others
        work, the cause may pass (a full server, memory not yet given back), and Ray may start it again."""
        self._unfit = f": {message}"
        if not self._stats:
            self.fatal(message)
        return self._stop is not None

    def starting(self) -> str | None:
        """A worker is about to load its model; the reason not to, if there is one.

        Ray starts a worker whose process ended again without end, and `max_consecutive_actor_init_deaths` counts none
        of it (only errors that are raised): where nothing was done for so many starts, nothing will be.
        """
        self._starts += 1
        if self._starts > self._deaths:
            ended = f"{self._deaths} workers in a row ended before they were ready"
            self.stop(f"failed: {ended} (see logs/worker-*.log){self._unfit}")
        return self._stop

    def died(self, query_ids: list[str]) -> None:
        """An engine died while these rows were in flight."""
        self._ends.update(query_ids)

    def suspects(self) -> dict[str, int]:
        """Rows that were in flight at SUSPECT or more ends of an engine, and at how many."""
        return {query_id: ends for query_id, ends in self._ends.items() if ends >= SUSPECT}

    def stats(self, worker: str, counters: dict[str, Any]) -> str | None:
        """The latest counters of one worker; the reason to stop, if there is one."""
        if worker not in self._stats or counters.get("requests") != self._stats[worker].get("requests"):
            self._starts = 0
        self._stats[worker] = counters
        return self._stop

    def state(self) -> tuple[str | None, str | None, int]:
        """(stop reason, fatal message, workers that are ready)."""
        return self._stop, self._fatal, len(self._stats)

    def all_stats(self) -> dict[str, dict[str, Any]]:
        return self._stats


def start(workers: int = 1) -> Any:
    """A handle to a fresh Control actor of so many workers; it needs no CPU, and dies with the driver.

    It stands on the driver's node, so that the end of another node does not take it along. Killed by itself it starts
    again, empty: the driver says its reason to stop at each look, and the workers their counters with each report.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_concurrency": 4, "max_restarts": -1, "max_task_retries": -1}
    return ray.remote(Control).options(**options, scheduling_strategy=here).remote(workers)


def ask(call: Any, otherwise: Any) -> Any:
    """The actor's answer to a call already made, or `otherwise` where it is busy, restarting or gone."""
    try:
        return ray.get(call, timeout=5)
    except (ray.exceptions.GetTimeoutError, ray.exceptions.RayActorError):
        return otherwise
