"""vLLM loads what a training leaves, merged and as LoRA adapter, and writes what transformers writes.

200 prompts: `python -m benchmarks.tuned_outputs --merged DIR --adapter DIR`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.tuned_outputs import compare, queries
from engine.backends import BackendConfig, create
from engine.config import TrainConfig
from engine.errors import UsageError
from engine.tiny import MODEL_DIR
from tests.backends.tiny_models import MAKERS

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.torch, pytest.mark.usefixtures("one_thread")]
pytest.importorskip("vllm")
pytest.importorskip("trl")
PROMPTS = 40


@pytest.fixture(scope="module")
def adapter(config: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine.training.train import run

    folder = tmp_path_factory.mktemp("tuned")
    for name, only in (("merged", False), ("adapter", True)):
        run(config(folder / name, adapter_only=only, max_steps=12, lr=3e-3, warmup=0.0))
    return folder / "adapter"


def test_vllm_writes_what_transformers_writes(adapter: Path) -> None:
    asked = queries(PROMPTS)
    assert compare(str(adapter.parent / "merged"), None, asked) >= 0.97 * PROMPTS
    assert compare("tiny", str(adapter), asked) >= 0.97 * PROMPTS


def test_an_adapter_is_heard(config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    """One that has learned enough to speak differently does so: the equal texts above are not the base model's."""
    from benchmarks.tuned_outputs import answers
    from engine.training.train import run

    adapter = tmp_path / "adapter"
    run(config(adapter, adapter_only=True, max_steps=30, lr=3e-3, warmup=0.0))
    asked = queries(PROMPTS)
    plain = asyncio.run(answers(BackendConfig("transformers", str(MODEL_DIR), longest_answer=40), asked))
    tuned = asyncio.run(answers(BackendConfig("transformers", str(MODEL_DIR), adapter=str(adapter)), asked))
    assert plain != tuned


def test_an_adapter_that_does_not_fit_is_told_at_the_start(adapter: Path, tmp_path: Path) -> None:
    other = create(BackendConfig("vllm", str(MAKERS["llava"](tmp_path / "other")), adapter=str(adapter)))
    with pytest.raises(UsageError, match="--adapter"):
        asyncio.run(other.start())
