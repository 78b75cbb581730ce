"""What vLLM is started with, and how many rows its cache admits. No vLLM, no GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.backends import vllm_args, vllm_memory
from engine.backends.base import BackendConfig


def config(**changes: object) -> BackendConfig:
    return BackendConfig("vllm", "m", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tensor_parallel", "on_cpu", "in_ray", "executor"),
    [
        (1, False, False, "uni"),
        (1, False, True, "uni"),
        (2, False, True, "ray"),
        (2, False, False, "mp"),
        (1, True, True, None),
    ],
)
def test_the_executor_follows_the_gpus(tensor_parallel: int, on_cpu: bool, in_ray: bool, executor: str | None) -> None:
    assert vllm_args.choose_executor(tensor_parallel, on_cpu=on_cpu, in_ray=in_ray) == executor


def test_gpu_arguments() -> None:
    args = vllm_args.engine_kwargs(config(tensor_parallel=4), on_cpu=False, in_ray=True, context=4096)
    assert args["tensor_parallel_size"] == 4
    assert args["distributed_executor_backend"] == "ray"
    assert args["enable_prefix_caching"] is True
    assert not {"dtype", "enforce_eager", "enable_chunked_prefill", "gpu_memory_utilization"} & set(args)


def test_a_fraction_of_a_gpu_takes_that_fraction_of_its_memory() -> None:
    args = vllm_args.engine_kwargs(config(gpus=0.5), on_cpu=False, in_ray=True, context=4096)
    assert args["gpu_memory_utilization"] == pytest.approx(0.45)


def test_cpu_arguments_prefill_whole_prompts() -> None:
    args = vllm_args.engine_kwargs(config(), on_cpu=True, in_ray=False, context=2048)
    assert (args["dtype"], args["block_size"], args["enable_chunked_prefill"]) == ("float32", 32, False)
    assert args["max_num_batched_tokens"] >= args["max_model_len"] == 2048
    long = vllm_args.engine_kwargs(config(), on_cpu=True, in_ray=False, context=128_000)
    assert long["max_model_len"] == vllm_args.CPU_CONTEXT


def test_engine_args_have_the_last_word() -> None:
    given = config(engine_args={"enable_prefix_caching": False, "max_model_len": 100})
    args = vllm_args.engine_kwargs(given, on_cpu=True, in_ray=False, context=2048)
    assert args["enable_prefix_caching"] is False
    assert args["max_model_len"] == 100


def test_the_callers_environment_stays() -> None:
    found = vllm_args.environment(config(), on_cpu=True, cores=[0, 1], given={"VLLM_LOGGING_LEVEL": "DEBUG"})
    assert "VLLM_LOGGING_LEVEL" not in found
    assert found["VLLM_NO_USAGE_STATS"] == found["VLLM_DO_NOT_TRACK"] == "1"
    assert found["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert not any(
        key.startswith("VLLM_CPU") for key in vllm_args.environment(config(), on_cpu=False, cores=[0], given={})
    )


def test_an_engine_on_cpu_preloads_openmp_and_keeps_its_memory() -> None:
    found = vllm_args.environment(config(), on_cpu=True, cores=[0], given={}, openmp="/lib/libiomp5.so")
    assert found["LD_PRELOAD"] == "/lib/libiomp5.so"
    assert found["GLIBC_TUNABLES"] == vllm_args.KEEP_MEMORY
    own = {"LD_PRELOAD": "libtcmalloc.so", "GLIBC_TUNABLES": "glibc.malloc.check=1"}
    kept = vllm_args.environment(config(), on_cpu=True, cores=[0], given=own, openmp="/lib/libiomp5.so")
    assert not own.keys() & kept.keys()
    assert "LD_PRELOAD" not in vllm_args.environment(config(), on_cpu=True, cores=[0], given={})
    assert "GLIBC_TUNABLES" not in vllm_args.environment(config(), on_cpu=False, cores=[0], given={}, openmp="x")


@pytest.mark.parametrize(("folder", "usable"), [("lib", True), ("a lib", False), ("a:lib", False)])
def test_openmp_is_found_where_its_package_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, usable: bool
) -> None:
    made = tmp_path / folder / "intel_openmp-1.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: intel-openmp\nVersion: 1\n")
    (made / "RECORD").write_text("libiomp5.so,,\nlibiompstubs5.so,,\n")
    monkeypatch.setattr("sys.path", [])
    assert vllm_args.intel_openmp() is None
    monkeypatch.setattr("sys.path", [str(tmp_path / folder)])
    assert vllm_args.intel_openmp() == (str(tmp_path / folder / "libiomp5.so") if usable else None)


@pytest.mark.parametrize(
    ("cores", "ranks", "threads", "binding"),
    [
        ([0, 1], 1, None, "0,1"),  # an engine alone has both cores
        ([0, 1], 1, "2", "0,1"),
        ([0, 1], 1, "1", "nobind"),  # Ray gave the actor one of two: the kernel places the threads
        ([2, 3, 6, 7], 2, None, "2,3|6,7"),
        ([0], 2, None, "nobind"),
    ],
)
def test_cores_are_shared_sensibly(cores: list[int], ranks: int, threads: str | None, binding: str) -> None:
    assert vllm_args.cpu_binding(cores, ranks, threads) == binding


def test_unknown_engine_args_get_a_suggestion() -> None:
    message = vllm_args.unknown_arguments(["max_modellen"], ["max_model_len", "seed"])
    assert message is not None
    assert "max_modellen" in message
    assert "max_model_len" in message
    assert vllm_args.unknown_arguments(["seed"], ["seed"]) is None


GIB = 2**30


def test_enough_gpu_memory_is_no_message() -> None:
    assert vllm_args.memory_shortfall(75 * GIB, 80 * GIB, 0.9, {123: 5 * GIB}) is None


def test_an_orphan_on_the_gpu_is_named() -> None:
    message = vllm_args.memory_shortfall(20 * GIB, 80 * GIB, 0.9, {4242: 60 * GIB, 7: GIB}, own_pids=[7])
    assert message is not None
    assert "pid 4242 (60.0 GiB)" in message
    assert "pid 7 " not in message
    assert "gpu_memory_utilization=0.23" in message


def test_before_anything_is_seen_a_row_needs_its_longest_step_in_whole_blocks() -> None:
    need = vllm_args.RowNeed(30, block=32)
    assert need.expected(12) == 192
    assert need.expected(12) >= 12 + 2 * 30 + vllm_args.STEP_OVERHEAD


def test_576_picture_tokens_admit_about_what_the_trial_found_ideal() -> None:
    """There 96 rows in flight overflowed the cache, 56 gave the ideal hit rate."""
    rows = 56 * 800 // (576 + vllm_args.RowNeed(32, block=32).expected(12))
    assert 50 <= rows <= 62


def test_a_row_needs_what_requests_were_seen_to_hold() -> None:
    need = vllm_args.RowNeed(1024, block=32)
    for _ in range(40):
        need.seen(70, 40)  # 96 tokens in whole blocks
    assert need.answer == 51
    assert need.expected(12) == 121
    assert need.expected(500) == 551, "a long query counts its own length"


def test_labels_say_nothing_of_the_length_of_answers() -> None:
    need = vllm_args.RowNeed(1024, block=32)
    for _ in range(40):
        need.seen(70, None)
    assert need.answer == vllm_args.FIRST_GUESS
    assert need.expected(12) == 12 + vllm_args.FIRST_GUESS


def test_an_answer_is_never_expected_longer_than_it_may_be() -> None:
    assert vllm_args.RowNeed(16).answer == 16


def test_encoded_pictures_fit_the_bytes_they_get() -> None:
    assert vllm_args.encoder_cache_tokens(4096, 2) == 131_072  # LLaVA-1.5-7B: 227 pictures
    assert vllm_args.encoder_cache_tokens(64, 4) == vllm_args.ENCODER_CACHE_TOKENS


@pytest.mark.parametrize("visible", ["", "1"])
def test_the_free_memory_is_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    """A card that is too full is named with who fills it; lines that hold no numbers are passed over."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        f'echo "$@" > {tmp_path}/asked\n'
        'case "$1" in\n'
        '*compute-apps*) printf "4242, 60000\\n77, [N/A]\\n";;\n'
        '*) printf "81000, 81559\\n20000, 81559\\n";;\n'
        "esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    message = vllm_memory._memory_shortfall(0.9)
    assert message is not None
    assert "pid 4242" in message
    assert "pid 77" not in message
    assert ("-i 1" in (tmp_path / "asked").read_text()) == bool(visible)
    assert vllm_memory._memory_shortfall(0.2) is None


def test_without_nvidia_smi_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert vllm_memory._memory_shortfall(0.9) is None
