"""kill -9 of vLLM's engine process while rows are in flight: the worker dies with it, Ray brings another, rows go on.

CI kills once; `make bars` four times (ECSO_ENGINE_KILLS=4).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.chaos.harness import ENGINE, Command, check_exactly_once, count

pytest.importorskip("vllm")
pytestmark = [pytest.mark.kill, pytest.mark.ray, pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1200)]
KILLS = int(os.environ.get("ECSO_ENGINE_KILLS", "1"))
ROWS = min(650, 50 + 110 * KILLS)
BLOCKS = 64
"""A small cache holds few rows in flight, so that the sample lasts for every kill."""


def test_the_engine_process_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--backend", "vllm", "--engine-arg", f"num_gpu_blocks_override={BLOCKS}"]
    arguments += ["--engine-arg", "max_model_len=1024", "--limit", str(ROWS)]
    command = Command(arguments, out).start()
    for _ in range(KILLS):
        command.wait_for_rows(count(out) + 40, timeout=240)
        assert count(out) < ROWS - 50, "the sample ended before the kill"
        command.kill(ENGINE)
    code, output = command.wait(600)
    assert code == 0, output
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert len(list((out / "journal").glob("*.rows"))) == KILLS + 1
    # At most what the cache admits was in flight at each kill: beside its picture, a row claims a quarter more than its
    # requests hold, of which the shortest fills one block of 32 tokens and the judge's two or more.
    found = check_exactly_once(out, manifest["counts"]["read"], KILLS * BLOCKS // 2)
    assert not command.gone_within(10)
    print(f"{KILLS} engine kills, {found['rows']} rows, {found['repeated']} repeated")
