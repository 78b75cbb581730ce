"""Real vLLM on CPU: same greedy text as transformers, another shape through ECSO, and nothing left after a death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.backends import create, vllm_args, watcher
from engine.backends.base import BackendConfig
from engine.errors import EngineDeadError, UsageError
from engine.types import Completion, Message, Query, Sampling
from tests.backends.conftest import Loop, picture
from tests.backends.test_transformers import prompts, whole_chain

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.torch]
pytest.importorskip("vllm")


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


async def answers(backend: Any, asked: list[list[Message]], sampling: Sampling) -> list[Completion]:
    return await asyncio.gather(*(backend.generate(messages, sampling) for messages in asked))


@pytest.fixture(scope="module")
def random_llava(model_folder: Callable[[str], Path]) -> Path:
    return model_folder("llava")


@pytest.fixture(scope="module")
def backend(run: Loop, random_llava: Path) -> Iterator[Any]:
    made: Any = create(BackendConfig("vllm", str(random_llava), longest_answer=64))
    run(made.start())
    token = made._token
    yield made
    run(made.close())
    assert watcher.owned(token) == []


def test_greedy_text_equals_transformers(run: Loop, backend: Any, random_llava: Path) -> None:
    asked = prompts(100)
    other = create(BackendConfig("transformers", str(random_llava)))
    run(other.start())
    try:
        ours, theirs = run(answers(backend, asked, Sampling(24))), run(answers(other, asked, Sampling(24)))
        # vLLM leaves out an unfinished character at the very end, transformers writes its replacement.
        equal = [a.text == b.text.rstrip("\ufffd") or a.text == b.text for a, b in zip(ours, theirs, strict=True)]
        assert sum(equal) >= 98
        assert [a.prompt_sha256 for a in ours] == [b.prompt_sha256 for b in theirs]
        assert [a.prompt_tokens for a in ours] == [b.prompt_tokens for b in theirs]
        labels = Sampling(1, labels=("yes", "no"))
        mine, its = run(answers(backend, asked[:8], labels)), run(answers(other, asked[:8], labels))
        for a, b in zip(mine, its, strict=True):
            assert a.label_logprobs == pytest.approx(b.label_logprobs, abs=1e-3)
    finally:
        run(other.close())


def test_the_engine_computes_with_intels_openmp_and_keeps_its_memory(backend: Any) -> None:
    # Torch's own library is loaded beside it, and its calls go to the one that was preloaded.
    processes = [Path("/proc", str(pid)) for pid in watcher.owned(backend._token)]
    assert processes
    assert all("libiomp5.so" in (process / "maps").read_text() for process in processes)
    # glibc cuts the list up where it stands while it reads it.
    settings = [(process / "environ").read_text().replace("\0", ":") for process in processes]
    assert all(vllm_args.KEEP_MEMORY in setting for setting in settings)


def test_a_picture_is_encoded_once_and_its_prefix_is_found_again(run: Loop, backend: Any) -> None:
    shown = [picture(100 + i) for i in range(40)]
    run(backend.refresh())
    before = backend.stats()
    for text in ("What is it?", "Is it red?", "Describe it."):
        run(answers(backend, [[Message("user", text, (one,))] for one in shown], Sampling(8)))
    run(backend.refresh())
    after = backend.stats()
    assert after.picture_encodes - before.picture_encodes <= 42
    assert after.cached_tokens - before.cached_tokens >= 2 * 40 * 32


def test_seeded_samples_pass_beside_many_long_prompts(run: Loop, backend: Any) -> None:
    """On CPU, vLLM 0.32 dies of a seeded request whose prefill is cut in two: prompts must be prefilled whole."""
    asked = [[Message("user", "word " * (150 + i), (picture(i),))] for i in range(60)]
    how = Sampling(4, temperature=0.8, seed=3)
    assert len(run(answers(backend, asked, how))) == 60


def test_capacity_is_the_caches_and_admits_many_rows(backend: Any) -> None:
    cache = backend._engine.vllm_config.cache_config
    assert backend.capacity == cache.num_gpu_blocks * cache.block_size
    claim = backend.cost(Query("id", "x", (picture(0),)))
    assert claim.shared == 36
    assert claim.rows == vllm_args.ROWS_IN_FLIGHT
    assert cache.block_size < claim.own < backend.capacity // 100
    assert backend._engine.vllm_config.scheduler_config.max_num_seqs >= vllm_args.ROWS_IN_FLIGHT


def test_unknown_engine_args_are_refused_before_anything_starts(run: Loop, random_llava: Path) -> None:
    wrong = create(BackendConfig("vllm", str(random_llava), engine_args={"max_modellen": 9}))
    with pytest.raises(UsageError, match="max_model_len"):
        run(wrong.start())


@pytest.mark.kill
def test_another_shape_passes_the_chain_and_a_killed_engine_is_told(
    run: Loop, model_folder: Callable[[str], Path]
) -> None:
    made: Any = create(BackendConfig("vllm", str(model_folder("qwen2_5_vl")), longest_answer=16))
    run(made.start())
    token = made._token
    try:
        assert {"answer", "tell", "caption", "safe_answer", "retell"} <= set(run(whole_chain(made)))
        for pid in watcher.owned(token):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineDeadError):
            run(made.generate([Message("user", "Still there?")], Sampling(8)), 30)
    finally:
        run(made.close())
    assert watcher.owned(token) == []


HOLDER = """
import asyncio, sys
from engine.backends import create
from engine.backends.base import BackendConfig

async def main():
    backend = create(BackendConfig("vllm", sys.argv[1]))
    await backend.start()
    print("token", backend._token, flush=True)
    await asyncio.sleep(300)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.kill
def test_kill_9_of_the_holder_leaves_no_engine_process(random_llava: Path, tmp_path: Path) -> None:
    script = tmp_path / "holder.py"
    script.write_text(HOLDER)
    holder = subprocess.Popen([sys.executable, str(script), str(random_llava)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    line = next(line for line in holder.stdout if line.startswith("token"))
    token = line.split()[1]
    assert len(watcher.owned(token)) >= 2  # the engine's core and its worker
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert wait_for(lambda: not watcher.owned(token), 5)
