"""Ray itself: started quietly for one run on this machine, or joined where `RAY_ADDRESS` says."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from importlib import import_module
from typing import Any, NoReturn
from uuid import uuid4

from engine.backends import watcher
from engine.registry import used_files
from pipelines import lean

# No telemetry of ours, and the libraries' switched off, before they are imported anywhere.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread that outlives a cut drain is not to start another Ray
    # Where there is no GPU, Ray is not to hide what is none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Ray Data holds reading back by what the workers have in hand, always: by default it lets the readers run ahead until
# half of the object store is full, and small blocks do not even stand there but in the driver's own memory.
PACED = {"RAY_DATA_DOWNSTREAM_CAPACITY_OBJECT_STORE_BUDGET_UTIL_THRESHOLD": "0"}
READ_AHEAD = 2.0
"""Bytes of blocks that may wait for the workers, as a multiple of what these have in hand."""
STARTS = 3
SLOW_START = "timed out during startup"
RUN_VARIABLE = "ECSO_RUN_TOKEN"
PACKAGES = ("engine", "pipelines", "schemas")


@contextmanager
def joined(*, slots: int, logs: str | None) -> Iterator[None]:
    """Inside: connected to the cluster of RAY_ADDRESS, or to one started here with at least `slots` logical CPUs.

    A local cluster counts logical slots, not cores: an actor that waits for an engine needs no core of its own. A
    cluster that was there before (a test's, a notebook's) is used and left as it is.
    """
    for key, value in {**QUIET, **PACED, **({} if _elsewhere() else lean.LEAN)}.items():
        os.environ.setdefault(key, value)
    import ray

    if _keeper is not None:
        _keeper.ensure(slots, logs)
        yield
    elif ray.is_initialized():
        yield
    else:
        with _started(slots, logs):
            yield


@contextmanager
def shared() -> Iterator[None]:
    """Inside: the first `joined` starts Ray and leaves it to the next ones; it ends with this block.

    For commands that do many runs, since every start costs seconds. Where nothing is joined, nothing is started.
    """
    global _keeper
    if _keeper is not None:
        yield
        return
    _keeper = _Keeper()
    try:
        yield
    finally:
        kept, _keeper = _keeper, None
        kept.close()


class _Keeper:
    """The cluster of a `shared` block."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._slots = 0

    def ensure(self, slots: int, logs: str | None) -> None:
        """Start it, or start a larger one where the next run needs more slots. One that was there before is used."""
        import ray

        if ray.is_initialized() and (not self._slots or slots <= self._slots):
            return
        self.close()
        self._stack.enter_context(_started(slots, logs))
        self._slots = max(slots, os.cpu_count() or 1)

    def close(self) -> None:
        """Stop it, if it was started here."""
        self._stack.close()
        self._slots = 0


_keeper: _Keeper | None = None


@contextmanager
def _started(slots: int, logs: str | None) -> Iterator[None]:
    import ray

    with _quiet_stderr(logs), _watched():
        with lean.daemons():
            _init(slots)
        # Ray's threads may still look about while it ends: not for helpers that are not there.
        with nullcontext() if _elsewhere() else lean.helpers():
            try:
                yield
            finally:
                ray.shutdown()


def _init(slots: int) -> None:
    """Start or join Ray. A crowded machine may need longer for a node than the 30 s that Ray has written down: again,
    then; what the failed start left behind ends with the run (`_watched`)."""
    import ray

    for left in reversed(range(STARTS)):
        try:
            with _own_sigterm():
                ray.init(**_options(slots), log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # Ray raises the bare class
            if not left or SLOW_START not in str(error):
                raise
            ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray's own handler, set by its start, would end the process with code 15 and nothing sealed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before if callable(before) else _end)


def _end(number: int, frame: object) -> NoReturn:  # noqa: ARG001 (the signature of a handler)
    """Where nobody drains: leave every block that is open, and end as a process does that was ended by a signal."""
    raise SystemExit(128 + number)


@contextmanager
def _watched() -> Iterator[None]:
    """Ray's agents can outlive a driver that was killed with -9 by more than ten seconds, and a worker that deadlocks
    in Ray's own shutdown (seen on a crowded machine) outlives everything. All of a local cluster inherits the driver's
    mark; a watcher ends whatever carries it, seconds after the driver or this block has ended."""
    token = os.environ[RUN_VARIABLE] = uuid4().hex
    # A process that gives itself a title (Ray's workers, vLLM's engine) is to leave its environment readable.
    os.environ.setdefault("SPT_NOENV", "1")
    guard = watcher.watch(token, RUN_VARIABLE, grace_s=3.0)
    try:
        yield
    finally:
        del os.environ[RUN_VARIABLE]
        # Not waited for: it gives what Ray has told to end some seconds, and then ends by itself.
        if guard.stdin is not None:
            guard.stdin.close()


def cores() -> int:
    """Cores that one node has for workers: all of this machine's, or one where the nodes are others'."""
    if _elsewhere():
        return 1
    return len(os.sched_getaffinity(0))


def _elsewhere() -> bool:
    """Whether RAY_ADDRESS names a cluster that others started."""
    return (os.environ.get("RAY_ADDRESS") or "local") != "local"


def _options(slots: int) -> dict[str, Any]:
    if not _elsewhere():
        return {"address": "local", "num_cpus": max(slots, os.cpu_count() or 1), "include_dashboard": False}
    # Workers on other nodes have no checkout: they get ours. By folder: inside `ray job submit` Ray copies this
    # dictionary deeply, which modules do not bear.
    packages = [str(import_module(name).__path__[0]) for name in PACKAGES] + used_files()
    address = os.environ["RAY_ADDRESS"]
    return {"address": address, "runtime_env": {"py_modules": packages, "env_vars": QUIET}}


@contextmanager
def _quiet_stderr(logs: str | None) -> Iterator[None]:
    """Ray's C++ side writes to file descriptor 2: that goes to OUT/logs, our own words still to the terminal."""
    if logs is None:
        yield
        return
    os.makedirs(logs, exist_ok=True)
    terminal = os.dup(2)
    ours, python = open(terminal, "w", buffering=1, closefd=False), sys.stderr  # noqa: SIM115 (lives for the block)
    log = os.open(os.path.join(logs, "driver.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 2)
    os.close(log)
    sys.stderr = ours
    try:
        yield
    finally:
        ours.flush()
        sys.stderr = python
        os.dup2(terminal, 2)
        os.close(terminal)


def configure(*, workers: int) -> None:
    """Ray Data's settings; set before a dataset is made, since later changes are ignored."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.memory_usage_poll_interval_s = None  # else each of a worker's calls has a thread that reads /proc
    context.target_max_block_size = 1  # one envelope, one block, at once: see pipelines/blocks.py
    context.downstream_capacity_backpressure_ratio = READ_AHEAD
    context.max_consecutive_actor_init_deaths = 3 * workers
    context.execution_no_progress_timeout_s = -1  # a window, a model's start, a wait for GPUs may well take 30 minutes
    context.max_errored_blocks = 0  # a dropped block would drop good rows; errors are handled per row
    context.execution_options.preserve_order = False
    context.execution_options.verbose_progress = False
    # Its default of 1.75 would never be reached: a worker is sent 18 blocks for the 16 that it works on.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    lean.look_less()
    for name in ("ray.data", "ray"):
        # What ends a run is told by the driver in one line; Ray Data would print the worker's traceback before it.
        logging.getLogger(name).setLevel(logging.CRITICAL)
