"""A training that is killed goes on from its last whole checkpoint, to the same weights; two processes share one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import TrainConfig
from engine.errors import UsageError

pytest.importorskip("trl")
pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.kill, pytest.mark.usefixtures("one_thread")]
Configure = Callable[..., TrainConfig]
STEPS = 8


def command(made: Path, out: Path, *more: str) -> list[str]:
    numbers = f"--preset tiny --max-steps {STEPS} --batch-size 4 --device-batch 2 --save-steps 2 --log-steps 1"
    fixed = ["-m", "engine.train", "--data", str(made), "--out", str(out), *numbers.split(), "--cpu", "--threads", "1"]
    return [*fixed, "--projector-lr", "0.001", "--lora-dropout", "0.1", *more]


def same(one: Path, other: Path) -> bool:
    from safetensors.torch import load_file

    a, b = (load_file(str(folder / "model.safetensors")) for folder in (one, other))
    return all(a[name].equal(b[name]) for name in a)


def test_killed_and_resumed_equals_undisturbed(made: Path, config: Configure, tmp_path: Path) -> None:
    from engine.training.train import run

    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, *command(made, out)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "training.json").exists()
    # A checkpoint that a kill broke off has no whole state: it is passed over.
    torn = out / "checkpoints" / "checkpoint-99"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 9')
    numbers = {"max_steps": STEPS, "save_steps": 2, "threads": 1, "projector_lr": 1e-3, "lora_dropout": 0.1}
    with pytest.raises(UsageError, match="go on with --resume"):
        run(config(out, **numbers))
    with pytest.raises(UsageError, match="checkpoints of another training"):
        run(config(out, **{**numbers, "seed": 1}, resume=True))
    document = run(config(out, **numbers, resume=True))
    assert document["resumed_from"] == "checkpoint-2" or int(document["resumed_from"].split("-")[1]) < STEPS
    assert [step for step, _ in document["loss"]["curve"]] == list(range(1, STEPS + 1))
    undisturbed = run(config(tmp_path / "whole", **numbers))
    assert undisturbed["loss"]["curve"] == document["loss"]["curve"]
    assert same(out, tmp_path / "whole")


def test_two_processes_train_one_model(made: Path, tmp_path: Path) -> None:
    """torchrun on CPU (gloo): rank 0 alone writes; the global batch is kept."""
    out = tmp_path / "two"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29571"]
    done = subprocess.run([*launch, *command(made, out)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads((out / "training.json").read_text())
    assert document["devices"]["count"] == 2
    assert document["batches"] == {"device": 2, "accumulate": 1, "total": 4}
    assert done.stdout.count("steps in") == 1
