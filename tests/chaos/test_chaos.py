"""The chaos bar: seeded kills of driver and actors, one after the other, on one output until it is whole.

CI runs a few; `make bars` runs 20 (ECSO_CHAOS_KILLS=20). The engine-process kills are in test_engine_kills.py.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from tests.chaos.harness import WORKER, Command, check_exactly_once, count

pytestmark = [pytest.mark.kill, pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]
KILLS = int(os.environ.get("ECSO_CHAOS_KILLS", "3"))
IN_FLIGHT = 8
WORKERS = 2
CONTROL = "ray::Control"
"""The actor that tells all others when to stop; its end stops nothing."""
LATENCY_MS = 150 if KILLS <= 5 else 1000
"""Slow enough that the sample's rows outlast the kills: while one worker starts again, the other goes on."""
ARGUMENTS = ["--backend", "scripted", "--scripted-latency-ms", str(LATENCY_MS), "--engine-arg", f"capacity={IN_FLIGHT}"]


def test_chaos(tmp_path: Path) -> None:
    out, dice = tmp_path / "out", random.Random(20261121)
    arguments = [*ARGUMENTS, "--workers", str(WORKERS)]
    victims = [None if dice.random() < 0.5 else dice.choice([WORKER, WORKER, CONTROL]) for _ in range(KILLS)]
    command, live, kills = Command(arguments, out).start(), 0, 0
    for victim in victims:
        before = count(out)
        command.wait_for_rows(before + dice.randint(1, 20))
        seen = count(out)
        if victim is not None and not command.pids(victim):
            victim = None
        command.kill(victim)
        kills += 1
        live += seen < 600  # rows were in flight: the end of the sample was not reached
        if victim is None:
            left = command.gone_within(10)
            command.sweep()
            assert not left, left
            command = Command(arguments, out).start()
    code, output = command.wait(600)
    assert code == 0, output
    assert live >= 0.8 * kills
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    found = check_exactly_once(out, manifest["counts"]["read"], kills * IN_FLIGHT * WORKERS)
    assert not command.gone_within(10)
    print(f"chaos: {kills} kills ({live} with rows in flight), {found['rows']} rows, {found['repeated']} repeated")
