"""Batches made ahead, in a process of their own, while the last one is learned from.

A build computes with one thread: with two, sums are added in another order, and the same seed gives another model. So
the second core draws, and looks at what is drawn with the frozen tower.
"""

import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from engine.processes import end_with_parent

T = TypeVar("T")
AHEAD = 4
"""Batches that may stand ready."""


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """The same batches in the same order. What they are drawn from (generators of random numbers, the tower) is the
    process's own copy, as it was at the start; torch's own random numbers are left as they are. The process ends with
    the iterator, or with its owner."""
    import torch
    from torch.utils.data import DataLoader, IterableDataset

    class Stream(IterableDataset[T]):
        def __iter__(self) -> Iterator[T]:
            return batches

    if sys.platform != "linux":  # a fork of a process that has loaded torch is not safe elsewhere
        return batches
    loader: Any = DataLoader(
        Stream(),
        batch_size=None,
        collate_fn=_same,
        num_workers=1,
        prefetch_factor=AHEAD,
        multiprocessing_context="fork",
        worker_init_fn=end_with_parent,  # torch's own watch does not see that a full queue has lost its reader
        generator=torch.Generator(),  # else the loader's seed is taken from those that the lessons draw from
    )
    return iter(loader)


def _same(batch: T) -> T:
    return batch
