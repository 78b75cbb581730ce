"""What vLLM is started with, as pure functions: testable where neither vLLM nor a GPU is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from engine import allocator
from engine.backends import adapters
from engine.backends.base import BackendConfig

PICTURES_PER_PROMPT = 4
"""A query may carry several pictures. vLLM reserves encoder memory by this number, so it stays small."""
CPU_BLOCK = 32
"""Tokens in a key-value block on CPU. vLLM's default there is 128: with short prompts no block would ever be shared."""
CPU_CONTEXT, CPU_BATCHED = 8192, 4096
"""On CPU: the longest context unless `--engine-arg max_model_len=` says other, and tokens in one step at least."""
GPU_SHARE = 0.9
"""Share of a GPU's memory that one engine takes (vLLM's own default); a fraction of a GPU takes that fraction of it."""
ROWS_IN_FLIGHT = 256
"""Never more rows than this, however large the cache: they fill the engine, and a kill repeats no more."""
ENCODER_CACHE_BYTES, ENCODER_CACHE_TOKENS = 2**30, 2**18
"""Encoded pictures kept by the engine, at most: 227 pictures of LLaVA-1.5-7B."""
STEP_OVERHEAD = 96
"""Tokens of template and prompt text around a query and a response in ECSO's longest prompts."""
KEEP_MEMORY = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {"hugetlb": 1, "mmap_max": 0, "trim_threshold": 2**32, "top_pad": 2**28}.items()
)
"""glibc's malloc in an engine on CPU: freed memory is kept, in huge pages, instead of being given back and cleared
again at each step (docs/decisions/0009). Another allocator, and another libc, does not read it."""
FIRST_GUESS = 256
"""Expected answer length before the first answers are seen."""


def engine_kwargs(config: BackendConfig, *, on_cpu: bool, in_ray: bool, context: int) -> dict[str, Any]:
    """AsyncEngineArgs by name. `context`: what the model was trained for. `--engine-arg` has the last word."""
    kwargs: dict[str, Any] = {
        "model": config.model,
        "revision": config.revision,
        "tokenizer_revision": config.revision,
        "trust_remote_code": config.trust_remote_code,
        "seed": config.seed,
        "tensor_parallel_size": config.tensor_parallel,
        "enable_prefix_caching": True,
        "limit_mm_per_prompt": {"image": PICTURES_PER_PROMPT, "video": 0},
        "disable_log_stats": True,
        "max_logprobs": 128,
        "use_tqdm_on_load": False,
    }
    if config.text_only:
        del kwargs["limit_mm_per_prompt"]
    executor = choose_executor(config.tensor_parallel, on_cpu=on_cpu, in_ray=in_ray)
    if executor is not None:
        kwargs["distributed_executor_backend"] = executor
    if on_cpu:
        # float32: bfloat16 is emulated on many CPUs, and float32 gives the greedy text that transformers gives.
        kwargs |= {"dtype": "float32", "enforce_eager": True, "block_size": CPU_BLOCK}
        kwargs |= whole_prefills(int(config.engine_args.get("max_model_len", min(context, CPU_CONTEXT))))
        kwargs |= {"enable_mm_processor_stats": True}  # on GPUs it would synchronise at every picture
    elif 0 < config.gpus < 1:
        kwargs["gpu_memory_utilization"] = round(GPU_SHARE * config.gpus, 4)
    if config.adapter is not None:
        rank = adapters.vllm_rank(adapters.read(config.adapter).rank)
        kwargs |= {"enable_lora": True, "max_lora_rank": rank, "max_loras": 1}
    return {**kwargs, **config.engine_args}


def whole_prefills(context: int) -> dict[str, Any]:
    """Each prompt in one step. On CPU a seeded request whose prefill is cut in two kills the engine (vLLM 0.32,
    gpu_model_runner `set_offset`: "CPU Generator does not use offset"), and our sampled requests are all seeded."""
    batched = max(CPU_BATCHED, context)
    return {"max_model_len": context, "enable_chunked_prefill": False, "max_num_batched_tokens": batched}


def choose_executor(tensor_parallel: int, *, on_cpu: bool, in_ray: bool) -> str | None:
    """How the engine runs its workers; None leaves it to vLLM.

    One GPU: `uni`, the worker inside the engine process, so that no third process can be orphaned. Several GPUs in a
    Ray actor: `ray`, whose workers take their GPUs from the actor's placement group. CPU: vLLM needs its own `mp`.
    """
    if on_cpu:
        return None
    if tensor_parallel == 1:
        return "uni"
    return "ray" if in_ray else "mp"


def intel_openmp() -> str | None:
    """Intel's OpenMP library, which vLLM's CPU build brings along and asks to have preloaded; None where none is."""
    try:
        files = metadata.files("intel-openmp") or []
    except metadata.PackageNotFoundError:
        return None
    found = [str(file.locate()) for file in files if file.name == "libiomp5.so"]
    usable = [path for path in found if allocator.preloadable(path)]
    return usable[0] if usable else None


def environment(
    config: BackendConfig, *, on_cpu: bool, cores: Sequence[int], given: Mapping[str, str], openmp: str | None = None
) -> dict[str, str]:
    """Environment variables to set before vLLM is imported; what the caller has set stays. `openmp`: a library to
    preload, see `intel_openmp`."""
    wanted = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        # Started by exec, never forked: the watcher finds them by their environment, and threads stay whole.
        "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
    }
    if on_cpu:
        wanted["VLLM_CPU_KVCACHE_SPACE"] = "1"
        if config.engine_args.get("enforce_eager", True):
            # Without it the first request for label probabilities waits 20 s for a compiled helper of the sampler.
            wanted["TORCHDYNAMO_DISABLE"] = "1"
        wanted["GLIBC_TUNABLES"] = KEEP_MEMORY
        if openmp is not None:
            # How long a thread without work keeps its core: 200 ms if nothing is said, 5 where vLLM binds threads.
            wanted |= {"LD_PRELOAD": openmp, "KMP_BLOCKTIME": "5"}
        wanted["VLLM_CPU_OMP_THREADS_BIND"] = cpu_binding(cores, config.tensor_parallel, given.get("OMP_NUM_THREADS"))
    return {key: value for key, value in wanted.items() if key not in given}


def cpu_binding(cores: Sequence[int], tensor_parallel: int, omp_threads: str | None) -> str:
    """VLLM_CPU_OMP_THREADS_BIND: the cores of each rank, ranks apart by `|`.

    vLLM's `auto` leaves one core out, and picks the same cores in every process. So an engine that has the machine to
    itself is bound to all its cores. One that shares it (Ray gives an actor OMP_NUM_THREADS = its num_cpus, fewer than
    there are) is not bound: it runs that many threads, and the kernel places them beside the other engines' threads.
    """
    if omp_threads is not None and omp_threads.isdigit() and int(omp_threads) < len(cores):
        return "nobind"
    if len(cores) < tensor_parallel:
        return "nobind"
    share = len(cores) // tensor_parallel
    parts = [cores[rank * share : (rank + 1) * share] for rank in range(tensor_parallel)]
    return "|".join(",".join(map(str, part)) for part in parts)


def unknown_arguments(given: Iterable[str], known: Iterable[str]) -> str | None:
    """The message for an `--engine-arg` that vLLM does not have, with the nearest names; None if all are known."""
    from difflib import get_close_matches

    names = set(known)
    wrong = sorted(set(given) - names)
    if not wrong:
        return None
    near = get_close_matches(wrong[0], names, n=3)
    return f"--engine-arg {wrong[0]}: unknown to this vLLM" + (f"; did you mean {' or '.join(near)}?" if near else "")


def memory_shortfall(
    free: int, total: int, share: float, holders: Mapping[int, int], *, own_pids: Iterable[int] = ()
) -> str | None:
    """Why the engine cannot have `share` of a GPU's `total` bytes when `free` are free; None if it can.

    `holders`: pid -> bytes, the processes that hold memory on that GPU. An engine whose owner was killed is the usual
    cause, so they are named.
    """
    needed = int(total * share)
    if free >= needed:
        return None
    gib = 2**30
    others = {pid: held for pid, held in holders.items() if pid not in set(own_pids)}
    listed = ", ".join(f"pid {pid} ({held / gib:.1f} GiB)" for pid, held in sorted(others.items()))
    cause = f"held by {listed}: end them if they are left over from an earlier run" if listed else "held by others"
    return (
        f"the GPU has {free / gib:.1f} of {total / gib:.1f} GiB free, the engine wants {needed / gib:.1f} ({cause}). "
        f"Or take less: --engine-arg gpu_memory_utilization={max(0.1, round(free / total - 0.02, 2))}"
    )


def encoder_cache_tokens(hidden_size: int, item_bytes: int) -> int:
    """Encoded picture tokens that ENCODER_CACHE_BYTES hold (each is one hidden state)."""
    return min(ENCODER_CACHE_TOKENS, ENCODER_CACHE_BYTES // max(1, hidden_size * item_bytes))


def enlarge_encoder_cache(vllm_config: Any) -> None:
    """Room for the encoded pictures of all rows in flight.

    The last key-value block with picture tokens also holds text, so it is never shared: each step needs the picture's
    encoded tail again. vLLM keeps as many encoded tokens as one scheduler step takes (a handful of pictures), and would
    run the vision tower at each step of each row. There is no argument for it, hence the attribute.
    """
    scheduler, model = vllm_config.scheduler_config, vllm_config.model_config
    if not hasattr(scheduler, "encoder_cache_size"):
        return
    wanted = encoder_cache_tokens(model.get_hidden_size(), model.dtype.itemsize)
    scheduler.encoder_cache_size = max(scheduler.encoder_cache_size, wanted)


class Mean:
    """A running mean over about the last thousand values."""

    LAST = 1000

    def __init__(self) -> None:
        self.count = 0
        self.value = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.value += (value - self.value) / min(self.count, self.LAST)


class RowNeed:
    """KV-cache tokens that a row needs beside its pictures', whose prefix is wanted until its last step.

    At first by rule: a step's prompt repeats the query and one earlier text of the model's, and a text is written. Then
    what requests are seen to hold, in whole blocks: rows in flight stand at different steps, so that their mean, with
    a margin, is what they need together. A row with a longer query than that counts its own length.
    """

    MARGIN = 1.25
    ENOUGH = 32
    """Requests, and answers, that are seen before they are believed."""

    def __init__(self, longest_answer: int, block: int = 1) -> None:
        self.block = block
        self._longest = max(1, longest_answer)
        self._answers, self._held = Mean(), Mean()

    def seen(self, tokens: int, written: int | None) -> None:
        """One request: its prompt without pictures and its text; the text alone (None for a label, one token)."""
        self._held.add(self._blocks(tokens))
        if written is not None:
            self._answers.add(written)

    @property
    def answer(self) -> int:
        """Tokens to reserve for one answer: a bounded guess first, then the mean with a margin."""
        if self._answers.count < self.ENOUGH:
            return min(self._longest, FIRST_GUESS)
        return max(1, min(self._longest, int(self._answers.value * self.MARGIN) + 1))

    def expected(self, query_tokens: int) -> int:
        """Tokens to reserve for a row with a query of that length."""
        if self._held.count < self.ENOUGH or 0 < self._answers.count < self.ENOUGH:
            return self._blocks(query_tokens + 2 * self.answer + STEP_OVERHEAD)
        return max(int(self._held.value * self.MARGIN) + 1, query_tokens + self.answer)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.block) * self.block
