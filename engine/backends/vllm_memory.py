"""Whether a GPU has the memory that an engine will ask for, before the engine is started. Not run here: no GPU."""

from __future__ import annotations

import asyncio
import os
import time

from engine.backends.vllm_args import memory_shortfall
from engine.errors import UsageError

MEMORY_WAIT_S = 30.0


async def wait_for_memory(share: float) -> None:
    """UsageError where a GPU has not the memory that the engine will ask for.

    Waits MEMORY_WAIT_S first: when an actor is replaced, its predecessor's engine may still be ending.
    """
    deadline = time.monotonic() + MEMORY_WAIT_S
    while (message := _memory_shortfall(share)) is not None:
        if time.monotonic() > deadline:
            raise UsageError(message)
        await asyncio.sleep(2)


def _memory_shortfall(share: float) -> str | None:
    """Asked of nvidia-smi, not of torch: that would open a context in this process, and take memory itself."""
    holders = {pid: mib * 2**20 for pid, mib in _nvidia_smi("--query-compute-apps=pid,used_memory")}
    for free, total in _nvidia_smi("--query-gpu=memory.free,memory.total"):
        message = memory_shortfall(free * 2**20, total * 2**20, share, holders)
        if message is not None:
            return message
    return None


def _nvidia_smi(query: str) -> list[tuple[int, int]]:
    """Pairs of numbers for the GPUs that this process may use; nothing where nvidia-smi is absent."""
    import subprocess

    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits", *(["-i", visible] if visible else [])]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    pairs = [[part.strip() for part in line.split(",")] for line in listed.splitlines()]
    return [(int(a), int(b)) for a, b in (pair for pair in pairs if len(pair) == 2) if a.isdigit() and b.isdigit()]
