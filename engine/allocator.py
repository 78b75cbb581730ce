"""jemalloc for processes that compute on the CPU: Ray's wheel for Linux brings it along.

A training step allocates and frees gigabytes in blocks of ever new sizes. glibc gives freed memory
back to the system and gets it again page by page; told to keep it, it looks for a fitting block in ever longer lists (a
quarter of a step after half an hour of training). jemalloc keeps blocks by classes of size, in huge pages.

Jason Evans, A Scalable Concurrent malloc(3) Implementation for FreeBSD, BSDCan 2006.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

KEEP = "dirty_decay_ms:10000,muzzy_decay_ms:-1,oversize_threshold:0,thp:always"
"""Pages are huge ones where the kernel has them. What was free for ten seconds is joined with its neighbours, and the
kernel may have it when it needs it; never joined, as with a decay of -1, the pieces came to 22 GiB in a build."""


def preloadable(path: str) -> bool:
    """Whether a path can stand in LD_PRELOAD, whose names white space and colons separate."""
    return re.search(r"[\s:]", path) is None


def library() -> str | None:
    """Where Ray's jemalloc lies; None where it has none (other systems), or where its path cannot be preloaded."""
    spec = find_spec("ray")
    for folder in (spec and spec.submodule_search_locations) or []:
        path = Path(folder) / "core" / "libjemalloc.so"
        if path.is_file() and preloadable(str(path)):
            return str(path)
    return None


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Variables for a process that is to be started with it; none where it is not there, or where `given` preloads
    something already."""
    found = library()
    if found is None or given.get("LD_PRELOAD"):
        return {}
    return {"LD_PRELOAD": found} | ({} if "MALLOC_CONF" in given else {"MALLOC_CONF": KEEP})
