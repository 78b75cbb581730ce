"""A Ray cluster for one module; where one is there already, that one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pipelines.cluster import QUIET


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.update(QUIET)
    ray.init(address="local", num_cpus=10, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
