"""A cluster of one run on this machine, without what only a cluster of many needs.

Beside what works, Ray starts processes that watch, report and share out: a monitor of logs and one of autoscaling, a
dashboard's server, and three actors of Ray Data (statistics, where its actors are, who may use how much). Each costs
up to a second of processor time at the start, and each wakes ten to a hundred times a second, which is missing to an
engine on the same cores (docs/decisions/0009). Ray has no option for any of them, hence the names put in their places
here, for as long as a cluster of our own stands. `tests/pipelines/test_lean.py` tells when Ray has another name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from importlib import import_module
from typing import Any
from uuid import uuid4

# It reports to nobody, and keeps one idle process for the next read. A sample, a statistic of an event, an idle
# process: all of it takes time from an engine on the same cores.
LEAN = {
    "RAY_enable_metrics_collection": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_event_stats": "0",
    "RAY_num_workers_soft_limit": "1",
    "RAY_idle_worker_killing_time_threshold_ms": "10000",  # not between two reads: a start costs seconds
    # What the node's own daemon does ten (memory: four) times a second, it does once.
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_raylet_check_gc_period_milliseconds": "1000",
    "RAY_object_manager_timer_freq_ms": "1000",
    "RAY_memory_monitor_refresh_ms": "1000",
    "RAY_io_context_monitor_probe_interval_ms": "10000",
}
DRIVER_LOOKS_EVERY_S = 0.25
"""How often Ray Data's driver looks at its tasks (ten times a second by default, milliseconds each): blocks take longer
than that, and what the driver takes is missing to an engine on the same cores."""
CONSUMER_LOOKS_EVERY_S = 0.1
"""How often who reads a dataset's results looks for the next one (a hundred times a second by default)."""

_NODE = "ray._private.node:Node"
_DATA = "ray.data._internal"


@contextmanager
def daemons() -> Iterator[None]:
    """A head node started inside has no monitor of logs (the driver is told none, `log_to_driver=False`), none of
    autoscaling and no dashboard's server (which starts whatever `include_dashboard` says), its agent the least of its
    modules; and each of its daemons a session of its own: a signal to the driver's whole group (`kill -TERM -PGID`, a
    service manager) must reach the driver alone, which then drains with their help. Ray blocks SIGINT in them and
    nothing else."""
    from ray._private import services

    with ExitStack() as stack:
        if plain := getattr(services, "ConsolePopen", None):
            apart = partial(plain, start_new_session=True)
            stack.enter_context(_instead("ray._private.services", "ConsolePopen", apart))
        for name in ("start_log_monitor", "start_monitor", "start_api_server"):
            stack.enter_context(_instead(_NODE, name, lambda *_, **__: None))
        no_dashboard = partial(ImportError, "a run shows itself")
        stack.enter_context(_instead("ray._private.utils", "get_dashboard_dependency_error", no_dashboard))
        yield


@contextmanager
def helpers() -> Iterator[None]:
    """Datasets made and run inside do without Ray Data's three actors: nobody reads the statistics, all actors are on
    this node, and all of this node is ours."""
    node = f"{_DATA}.execution.operators.actor_pool_map_operator"
    with ExitStack() as stack:
        for place, name, value in (
            (f"{_DATA}.stats", "get_or_create_stats_actor", Nobody),
            (f"{_DATA}.stats:_StatsManager", "gen_dataset_id_from_stats_actor", staticmethod(lambda: uuid4().hex)),
            (node, "get_or_create_actor_location_tracker", Nobody),
            (node, "get_actor_locations", lambda _: {}),
            (f"{_DATA}.cluster_autoscaler.rate_based_cluster_autoscaler", "DefaultAutoscalingCoordinator", AllOfIt),
        ):
            stack.enter_context(_instead(place, name, value))
        yield


def look_less() -> None:
    """Ray Data has no option for either wait; another version that has none of the two stays as it is."""
    from ray.data._internal.execution import streaming_executor_state as state

    if hasattr(state, "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S"):
        state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = DRIVER_LOOKS_EVERY_S
    if getattr(state, "time", None) is time:
        state.time = Patient()


class Patient:
    """The module `time`, but a sleep takes a tenth of a second at least."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, CONSUMER_LOOKS_EVERY_S))


class Nobody:
    """Stands where an actor's handle is asked for; its methods' remote calls do nothing."""

    def __getattr__(self, name: str) -> Nobody:
        if name.startswith("__"):  # what pickle and others look for
            raise AttributeError(name)
        return self

    def remote(self, *_: Any, **__: Any) -> None:
        return None


class AllOfIt:
    """Ray Data's coordinator of what datasets may use, where one machine has one run: everything, always."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    @cached_property
    def _nodes(self) -> dict[str, dict[str, float]]:
        import ray

        return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}

    def request_resources(self, *_: Any, **__: Any) -> None:
        """There is nothing to be added."""

    def cancel_request(self) -> None:
        """Nothing was asked for."""

    def get_reserved_resources(self) -> dict[str, dict[str, float]]:
        return self._nodes


@contextmanager
def _instead(place: str, name: str, value: Any) -> Iterator[None]:
    """Inside, `name` of a module (or of `module:Class`) is `value`; where it has no such name, all is as it was."""
    module, _, inner = place.partition(":")
    try:
        owner = import_module(module)
        owner = getattr(owner, inner) if inner else owner
        plain = vars(owner)[name]  # as it stands there: a static method would come unwrapped from getattr
    except (ImportError, AttributeError, KeyError):
        yield
        return
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, plain)
