"""Ray itself: started quietly for one run on this machine, or joined where `RAY_ADDRESS` says."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from uuid import uuid4

from engine.backends import watcher

# No telemetry of ours, and the libraries' switched off, before they are imported anywhere.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Where there is no GPU, Ray is not to hide what is none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
RUN_VARIABLE = "ECSO_RUN_TOKEN"
PACKAGES = ("engine", "pipelines", "schemas")


@contextmanager
def joined(*, slots: int, logs: str | None) -> Iterator[None]:
    """Inside: connected to the cluster of RAY_ADDRESS, or to one started here with at least `slots` logical CPUs.

    A local cluster counts logical slots, not cores: an actor that waits for an engine needs no core of its own. A
    cluster that was there before (a test's, a notebook's) is used and left as it is.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    import ray

    if ray.is_initialized():
        yield
        return
    with _quiet_stderr(logs), _watched():
        ray.init(**_options(slots), log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _watched() -> Iterator[None]:
    """Ray's agents can outlive a driver that was killed with -9 by more than ten seconds. All of a local cluster
    inherits the driver's mark; a watcher ends whatever carries it once the driver is gone."""
    token = os.environ[RUN_VARIABLE] = uuid4().hex
    guard = watcher.watch(token, RUN_VARIABLE, grace_s=3.0)
    try:
        yield
    finally:
        del os.environ[RUN_VARIABLE]
        guard.kill()  # ray.shutdown has ended them all in its own way
        guard.wait()


def cores() -> int:
    """Cores that one node has for workers: all of this machine's, or one where the nodes are others'."""
    if os.environ.get("RAY_ADDRESS", "local") != "local":
        return 1
    return len(os.sched_getaffinity(0))


def _options(slots: int) -> dict[str, Any]:
    address = os.environ.get("RAY_ADDRESS")
    if not address or address == "local":
        return {"address": "local", "num_cpus": max(slots, os.cpu_count() or 1), "include_dashboard": False}
    # Workers on other nodes have no checkout: they get ours.
    packages = [import_module(name) for name in PACKAGES]
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
    context.target_max_block_size = 1  # one envelope, one block, at once: see pipelines/blocks.py
    context.max_consecutive_actor_init_deaths = 3 * workers
    context.max_errored_blocks = 0  # a dropped block would drop good rows; errors are handled per row
    context.execution_options.preserve_order = False
    context.execution_options.verbose_progress = False
    # Its default of 1.75 would never be reached: a worker is sent 18 blocks for the 16 that it works on.
    context.autoscaling_config.actor_pool_util_upscaling_threshold = 1.0
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
