"""Ray itself: started quietly for one run on this machine, or joined where `RAY_ADDRESS` says."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any

# No telemetry of ours, and the libraries' switched off, before they are imported anywhere.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TOKENIZERS_PARALLELISM": "false",
}
PACKAGES = ("engine", "pipelines", "schemas")


def start(*, slots: int) -> None:
    """Join the cluster of RAY_ADDRESS, or start one here with at least `slots` logical CPUs.

    A local cluster counts logical slots, not cores: an actor that waits for an engine needs no core of its own.
    """
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    address = os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        # Workers on other nodes have no checkout: they get ours.
        options["runtime_env"] = {"py_modules": [import_module(name) for name in PACKAGES], "env_vars": QUIET}
        ray.init(address=address, **options)
        return
    cpus = max(slots, os.cpu_count() or 1)
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)


def configure(*, workers: int) -> None:
    """Ray Data's settings; set before a dataset is made, since later changes are ignored."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = None  # blocks leave as they are yielded: small, and at once
    context.max_consecutive_actor_init_deaths = 3 * workers
    context.max_errored_blocks = 0  # a dropped block would drop good rows; errors are handled per row
    context.execution_options.preserve_order = False
    context.execution_options.verbose_progress = False
    context.actor_pool_util_upscaling_threshold = 1.0
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


def stop() -> None:
    """Leave the cluster; one that was started here ends with all its processes."""
    import ray

    ray.shutdown()
