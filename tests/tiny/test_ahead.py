"""Batches made in a process of their own are those that would have been made here."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice

import psutil
import pytest

pytest.importorskip("torch")

from engine.tiny.ahead import ahead


def rolls(dice: random.Random) -> Iterator[tuple[int, list[float]]]:
    while True:
        yield os.getpid(), [dice.random() for _ in range(3)]


def is_gone(pid: int) -> bool:
    """In ten seconds at most; a zombie that nobody has waited for is gone too."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_the_same_batches_in_the_same_order_from_another_process() -> None:
    import torch

    torch.manual_seed(5)
    made = list(islice(ahead(rolls(random.Random(7))), 20))
    assert [numbers for _, numbers in made] == [numbers for _, numbers in islice(rolls(random.Random(7)), 20)]
    assert {pid for pid, _ in made}.isdisjoint({os.getpid()})
    drawn = torch.rand(4).tolist()
    torch.manual_seed(5)
    assert drawn == torch.rand(4).tolist()  # the lessons' own random numbers did not move


def test_the_process_ends_with_the_iterator() -> None:
    source = ahead(rolls(random.Random(7)))
    pid, _ = next(source)
    assert psutil.pid_exists(pid)
    del source
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_the_process_ends_with_its_owner() -> None:
    code = """
import time
from engine.tiny.ahead import ahead
from tests.tiny.test_ahead import rolls, random
source = ahead(rolls(random.Random(7)))
print(next(source)[0], flush=True)
time.sleep(60)
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    time.sleep(1)  # as many batches as may stand ready stand ready
    owner.kill()
    owner.communicate()
    assert is_gone(pid)


def test_what_goes_wrong_there_is_told_here() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no such colour")

    source = ahead(broken())
    assert next(source) == 1
    with pytest.raises(ValueError, match="no such colour"):
        next(source)
