"""vLLM (0.29-0.32) in the actor: one AsyncLLM, prefix caching, pictures known by content. Only this file imports vllm.

All of a row's steps go to one engine, and the first three begin with the same picture: its key-value blocks are found
again as long as rows in flight do not push each other out of the cache. So `capacity` is the cache in tokens as the
engine reports it, and `cost` what a row may need of it.

Temperature 0 is not bit-reproducible across runs (vllm#23138): other batches add floats in another order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from itertools import count
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from engine.admission import Claim
from engine.backends import vllm_args, watcher
from engine.backends.base import BackendConfig, BackendStats, require
from engine.backends.labels import LabelIds, combine
from engine.backends.processors import context_of, load_processor
from engine.backends.prompting import Prompt, Prompter, prepare, room
from engine.backends.vllm_memory import wait_for_memory
from engine.errors import EngineDeadError, RequestError, UsageError
from engine.types import Completion, Message, Picture, Query, Sampling

if TYPE_CHECKING:
    import subprocess

    from PIL import Image

log = logging.getLogger(__name__)

DECODED_KEPT = 256
"""Decoded pictures kept for the later steps of the same rows."""
UNKNOWN_PICTURE_TOKENS = 1024
"""Admission's guess where a processor cannot say how many tokens a picture takes."""
COUNT_EVERY_S = 5.0
"""How often the engine is asked for its picture encodes."""
SHUTDOWN_S = 5.0


class VllmBackend:
    """One engine and its processes."""

    runs_model = True

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._engine: Any = None
        self._adapter: Any = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._counter: asyncio.Task[None] | None = None
        self._token = ""
        self._ids = count()
        self._decoded: OrderedDict[str, Image.Image] = OrderedDict()
        self._need = vllm_args.RowNeed(config.longest_answer)
        self._requests = self._prompt_tokens = self._cached_tokens = self._completion_tokens = 0
        self._encodes: int | None = None
        self._capacity = self._context = 1
        self._picture_sizes: dict[tuple[int, int], int] = {}

    @property
    def capacity(self) -> int:
        """Tokens that the engine's KV cache holds."""
        return self._capacity

    def cost(self, query: Query) -> Claim:
        """Tokens of the KV cache: the pictures' (once for all rows on them), and what steps need beside them."""
        pictures = sum(self._picture_tokens(p.width, p.height) or UNKNOWN_PICTURE_TOKENS for p in query.pictures)
        text = len(query.text.encode("utf-8", "replace")) // 3 + 1
        key = ",".join(picture.sha256 for picture in query.pictures)
        return Claim(self._need.expected(text), key, pictures, vllm_args.ROWS_IN_FLIGHT)

    async def start(self) -> None:
        """Start the engine's processes. Raises UsageError for a model or a machine that cannot be used at all."""
        require("vllm", "vllm", "vllm")
        config = self._config
        on_cpu = _on_cpu()
        cores = sorted(os.sched_getaffinity(0))
        openmp = vllm_args.intel_openmp()
        os.environ.update(vllm_args.environment(config, on_cpu=on_cpu, cores=cores, given=os.environ, openmp=openmp))
        trust, text_only = config.trust_remote_code, config.text_only
        processor = load_processor(config.model, config.revision, trust_remote_code=trust, text_only=text_only)
        self._processor = processor
        self._prompter = Prompter(processor, config.chat_template_kwargs)
        self._labels = LabelIds(self._prompter.tokenizer)
        kwargs = vllm_args.engine_kwargs(config, on_cpu=on_cpu, in_ray=_in_ray(), context=context_of(config))
        if not on_cpu:
            await wait_for_memory(float(kwargs.get("gpu_memory_utilization", vllm_args.GPU_SHARE)))
        resource_tracker.ensure_running()  # Python's own helper for `spawn`; before the mark: it is not the engine's
        self._token = uuid.uuid4().hex
        self._watcher = watcher.watch(self._token)
        os.environ[watcher.VARIABLE] = self._token
        try:
            self._engine = _start_engine(config.model, kwargs)
        except BaseException:
            await self.close()
            raise
        finally:
            os.environ.pop(watcher.VARIABLE, None)
        if config.adapter is not None:
            await self._load_adapter(config.adapter)
        self._read_sizes(self._engine.vllm_config)
        if kwargs.get("enable_mm_processor_stats"):
            self._encodes = 0
            self._counter = asyncio.create_task(self._count_encodes())

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """One request; a failed one leaves the engine as it is."""
        if self._engine is None:
            raise EngineDeadError("the vllm backend is not started, or closed")
        started = time.monotonic()
        prompt = self._prompter.prompt(messages)
        label_ids = self._labels(sampling.labels) if sampling.labels else {}
        images = [await self._decode(picture) for picture in prompt.pictures]
        params = _sampling_params(sampling, self._room(prompt, images, sampling.max_tokens), label_ids)
        output = await self._ask(self._engine_prompt(prompt, images), params)
        choice = output.outputs[0]
        if choice.finish_reason not in ("stop", "length"):
            raise RequestError(f"vLLM ended the request with finish reason {choice.finish_reason!r}")
        prompt_tokens, written = len(output.prompt_token_ids or ()), len(choice.token_ids)
        cached = max(0, output.num_cached_tokens or 0)
        self._note(prompt_tokens, cached, written)
        self._need.seen(len(prompt.token_ids) - len(images) + written, None if label_ids else written)
        return Completion(
            text=choice.text,
            finish_reason=choice.finish_reason,
            prompt_sha256=prompt.sha256,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached,
            completion_tokens=written,
            label_logprobs=_label_logprobs(choice, label_ids),
            seconds=time.monotonic() - started,
        )

    def stats(self) -> BackendStats:
        """`picture_encodes` lags by up to COUNT_EVERY_S (exact after `refresh` or `close`); None where not counted."""
        return BackendStats(
            self._prompt_tokens, self._cached_tokens, self._completion_tokens, self._requests, self._encodes
        )

    async def _load_adapter(self, folder: str) -> None:
        """Load the adapter now: an unfit one must be told before the first row."""
        from vllm.lora.request import LoRARequest

        self._adapter = LoRARequest("adapter", 1, folder)
        try:
            await self._engine.add_lora(self._adapter)
        except Exception as error:
            await self.close()
            text = str(error).strip().splitlines()[0][:500] if str(error).strip() else type(error).__name__
            raise UsageError(f"--adapter {folder}: vLLM does not load it: {text}") from error

    async def refresh(self) -> None:
        """Fetch the engine's picture encodes since the last time."""
        if self._engine is not None and self._encodes is not None:
            await self._fetch_encodes(self._engine)

    async def _fetch_encodes(self, engine: Any) -> None:
        for worker in await engine.collective_rpc("get_encoder_timing_stats"):
            calls = sum(int(stats.get("num_encoder_calls", 0)) for stats in (worker or {}).values())
            self._encodes = (self._encodes or 0) + calls
        _forget_timings(engine)

    async def close(self) -> None:
        """Shut the engine down; whatever is left of its processes is killed. Safe to call twice."""
        counter, self._counter = self._counter, None
        engine, self._engine = self._engine, None
        if counter is not None:
            counter.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await counter
        try:
            if engine is not None:
                await self._shut_down(engine)
        finally:
            await asyncio.to_thread(self._end_processes)

    async def _shut_down(self, engine: Any) -> None:
        """The last count, then vLLM's own shutdown, its output task stopped first (it would log an engine's death)."""
        if not engine.errored and self._encodes is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._fetch_encodes(engine), SHUTDOWN_S)
        handler = getattr(engine, "output_handler", None)
        if handler is not None:
            handler.cancel()
            await asyncio.wait([handler], timeout=1)
        await asyncio.to_thread(engine.shutdown)

    def _end_processes(self) -> None:
        if self._token:
            left = watcher.end(self._token, grace_s=SHUTDOWN_S)
            if left:
                log.warning("vLLM left %d processes behind (killed: %s)", len(left), left)
        guard, self._watcher, self._token = self._watcher, None, ""
        if guard is not None and guard.stdin is not None:
            guard.stdin.close()
            guard.wait()

    async def _ask(self, engine_prompt: dict[str, Any], params: Any) -> Any:
        """The request's one and final output; vLLM's errors become ours."""
        from vllm.v1.engine.exceptions import EngineDeadError as VllmDead

        engine, last = self._engine, None
        try:
            async for output in engine.generate(
                engine_prompt, params, request_id=f"ecso-{next(self._ids)}", lora_request=self._adapter
            ):
                last = output
        except asyncio.CancelledError:
            raise
        except VllmDead as error:
            raise EngineDeadError(f"vLLM's engine process died: {error}") from error
        except Exception as error:
            cause = error.__cause__ or error
            if engine.errored or isinstance(cause, VllmDead):
                raise EngineDeadError(f"vLLM's engine process died: {cause}") from error
            raise RequestError(f"vLLM refused the request: {type(cause).__name__}: {cause}"[:1000]) from error
        if last is None:
            raise RequestError("vLLM gave no output")
        return last

    def _engine_prompt(self, prompt: Prompt, images: Sequence[Image.Image]) -> dict[str, Any]:
        """Token ids with one placeholder a picture (vLLM expands them), and each picture with its identity.

        vLLM trusts the identity for all its caches, so it names the content and the preparation, nothing else.
        """
        asked: dict[str, Any] = {"prompt_token_ids": list(prompt.token_ids)}
        if images:
            identities = [f"{picture.sha256}-{self._config.picture_prep}" for picture in prompt.pictures]
            asked |= {"multi_modal_data": {"image": list(images)}, "multi_modal_uuids": {"image": identities}}
        return asked

    def _room(self, prompt: Prompt, images: Sequence[Image.Image], max_tokens: int) -> int:
        """Raises PromptError for a prompt that does not fit, before the engine is asked."""
        sizes = [self._picture_tokens(*image.size) or 1 for image in images]
        return room(len(prompt.token_ids) - len(images) + sum(sizes), max_tokens, self._context)

    def _picture_tokens(self, width: int, height: int) -> int | None:
        """Tokens of a picture of this size, as the processor counts them; None where it cannot say."""
        if self._config.picture_prep == "pad":
            width = height = max(width, height)
        known = self._picture_sizes.get((width, height))
        if known is None:
            try:
                told = self._processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
                known = int(told["num_image_tokens"][0])
            except Exception as error:  # noqa: BLE001 (an optional method of hundreds of processors)
                log.debug("no picture token count: %s", error)
                return None
            self._picture_sizes[width, height] = known
        return known

    async def _decode(self, picture: Picture) -> Image.Image:
        kept = self._decoded.get(picture.sha256)
        if kept is not None:
            self._decoded.move_to_end(picture.sha256)
            return kept
        image = await asyncio.to_thread(prepare, picture, self._config.picture_prep)
        self._decoded[picture.sha256] = image
        if len(self._decoded) > DECODED_KEPT:
            self._decoded.popitem(last=False)
        return image

    def _note(self, prompt_tokens: int, cached: int, written: int) -> None:
        self._requests += 1
        self._prompt_tokens += prompt_tokens
        self._cached_tokens += cached
        self._completion_tokens += written

    def _read_sizes(self, vllm_config: Any) -> None:
        """What the engine really has, after it measured its memory."""
        cache = vllm_config.cache_config
        block, blocks = int(cache.block_size), int(cache.num_gpu_blocks or 0)
        self._capacity = int(getattr(cache, "kv_cache_size_tokens", None) or blocks * block)
        self._need.block = block
        self._context = int(vllm_config.model_config.max_model_len)

    async def _count_encodes(self) -> None:
        while True:
            await asyncio.sleep(COUNT_EVERY_S)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 (a counter must not end a run; a dead engine is told by generate)
                log.debug("picture encodes: %s", error)


def _on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def _in_ray() -> bool:
    """Inside a Ray worker? Asked of the environment: backends do not import ray."""
    return "RAY_JOB_ID" in os.environ or "RAY_RAYLET_PID" in os.environ


def _start_engine(model: str, kwargs: dict[str, Any]) -> Any:
    """AsyncLLM, waiting for its processes to load the model."""
    from dataclasses import fields

    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    known = {field.name for field in fields(AsyncEngineArgs)}
    message = vllm_args.unknown_arguments(kwargs, known)
    if message is not None:
        raise UsageError(message)
    try:
        # Batches as large as vLLM's for offline work (its `LLM`); where nothing is said they are a server's or smaller.
        vllm_config = AsyncEngineArgs(**kwargs).create_engine_config(UsageContext.LLM_CLASS)
        vllm_args.enlarge_encoder_cache(vllm_config)
        return AsyncLLM.from_vllm_config(vllm_config, disable_log_stats=kwargs["disable_log_stats"])
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        raise UsageError(f"--model {model}: vLLM does not start with it: {text[:1000]}") from error


def _sampling_params(sampling: Sampling, max_tokens: int, label_ids: dict[str, tuple[int, ...]]) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    wanted = sorted({index for ids in label_ids.values() for index in ids})
    return SamplingParams(
        max_tokens=max_tokens,
        min_tokens=min(sampling.min_tokens, max_tokens),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        output_kind=RequestOutputKind.FINAL_ONLY,
        logprob_token_ids=wanted or None,
    )


def _label_logprobs(choice: Any, label_ids: dict[str, tuple[int, ...]]) -> dict[str, float] | None:
    if not label_ids or not choice.logprobs:
        return None
    return combine(label_ids, {index: entry.logprob for index, entry in choice.logprobs[0].items()})


def _forget_timings(engine: Any) -> None:
    """The front end notes a timing for each request until it is read: read, so that memory stays flat."""
    registry = getattr(getattr(engine, "renderer", None), "_mm_timing_registry", None)
    if registry is not None:
        registry.stat()
