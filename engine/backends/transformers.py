"""Any AutoModelForImageTextToText, on CPU or GPU, in batches with left padding: what runs where vLLM does not.

Greedy and sampled rows share a batch: each sampled row draws from its own generator, seeded by its request, so a
row's sample does not depend on its neighbours (up to rounding: other batch sizes add floats in another order).
Label probabilities are those of the raw logits of the first new token.

Not covered: prefix caching (each step prefills its picture again; features of a picture are kept, not its keys and
values), beam search, models that answer with anything but text.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.admission import Claim
from engine.backends.base import BackendConfig, BackendStats, require
from engine.backends.batching import Answer, Batcher, Job
from engine.backends.decoding import Decoding
from engine.backends.features import Features, beside, expand, is_beside, make, stack, types_of
from engine.backends.labels import LabelIds
from engine.backends.processors import class_of, context_of, load_processor
from engine.backends.prompting import Prompt, Prompter, prepare, room
from engine.errors import EngineDeadError, UsageError
from engine.types import Completion, Message, Picture, Query, Sampling

ENGINE_ARGS = {"dtype", "device", "batch_size", "threads", "attn_implementation"}
BATCH_CPU, BATCH_GPU = 32, 16
"""Rows in a batch. On CPU models are small and Python's cost per step dominates; on GPU memory does (OOM halves it)."""
ROWS_PER_BATCH = 3
"""Rows in flight for each row of a batch: while one batch computes, others' follow-up questions queue up."""
KEPT_BYTES = 256 * 2**20
"""Picture features kept for the later steps of the same rows."""
SMALL_MODEL = 50_000_000
"""Parameters under which a CPU model gets one thread."""
STRAGGLERS, STRAGGLER_STEPS = 4, 16
"""A batch is broken off when at most 1/4 of it still writes, at least half a batch waits, and 16 steps were made."""


class TransformersBackend:
    """One model in this process, one worker thread."""

    runs_model = True

    def __init__(self, config: BackendConfig) -> None:
        unknown = sorted(set(config.engine_args) - ENGINE_ARGS)
        if unknown:
            raise UsageError(f"--engine-arg {unknown[0]}: unknown to transformers; it takes {sorted(ENGINE_ARGS)}")
        self._config = config
        self._requests = self._prompt_tokens = self._completion_tokens = self._encodes = self._draws = 0
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._kept_bytes = 0
        self._batcher: Batcher | None = None
        self._preparer: ThreadPoolExecutor | None = None
        self._model: Any = None
        self._batch_size = BATCH_CPU

    @property
    def capacity(self) -> int:
        """In rows: enough to keep batches full."""
        return self._batch_size * ROWS_PER_BATCH

    def cost(self, query: Query) -> Claim:  # noqa: ARG002 (the seam's signature)
        """Every row costs the same: nothing of it stays in memory between its steps."""
        return Claim(1)

    async def start(self) -> None:
        """Load the model. Raises UsageError where it is none, takes no pictures, or does not fit."""
        require("torch", "transformers", "local")
        await asyncio.to_thread(self._load)
        self._batcher = Batcher(self._run, self._batch_size)
        self._batcher.start()
        self._preparer = ThreadPoolExecutor(1, "ecso-pictures")

    def _load(self) -> None:
        import torch

        config, args = self._config, self._config.engine_args

        def processor() -> Any:
            trust, text_only = config.trust_remote_code, config.text_only
            return load_processor(config.model, config.revision, trust_remote_code=trust, text_only=text_only)

        self._prompter = Prompter(processor(), config.chat_template_kwargs)
        # A second one for the picture thread: fast tokenizers must not be used from two threads at once.
        self._processor = processor()
        self._labels = LabelIds(self._prompter.tokenizer)
        self._device = torch.device(str(args.get("device", "cuda" if torch.cuda.is_available() else "cpu")))
        self._batch_size = int(args.get("batch_size", BATCH_CPU if self._device.type == "cpu" else BATCH_GPU))
        self._model = _load_model(config, self._device)
        if self._device.type == "cpu":
            _set_threads(self._model, args.get("threads"))
        self._eos = _neutral_generation(self._model, self._prompter.tokenizer)
        self._context = context_of(config)

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Queue one request and wait for its answer."""
        if self._batcher is None or self._preparer is None:
            raise EngineDeadError("the transformers backend is not started, or closed")
        started = time.monotonic()
        prompt = self._prompter.prompt(messages)
        label_ids = self._labels(sampling.labels) if sampling.labels else {}
        features = [await self._features(picture) for picture in prompt.pictures]
        job = self._job(prompt, features, sampling, label_ids)
        prompt_tokens = len(job.token_ids)
        self._batcher.submit(job)
        answer: Answer = await job.future
        self._requests += 1
        self._prompt_tokens += prompt_tokens
        written = len(answer.token_ids) + (answer.finish_reason == "stop")  # the end token counts, as in vLLM
        self._completion_tokens += written
        return Completion(
            text=self._prompter.decode(answer.token_ids),
            finish_reason=answer.finish_reason,
            prompt_sha256=prompt.sha256,
            prompt_tokens=prompt_tokens,
            cached_tokens=0,
            completion_tokens=written,
            label_logprobs=answer.label_logprobs,
            seconds=time.monotonic() - started,
        )

    def stats(self) -> BackendStats:
        """Nothing is ever cached here; `picture_encodes` counts the pictures that went through the vision tower."""
        return BackendStats(
            self._prompt_tokens, 0, self._completion_tokens, self._requests, picture_encodes=self._encodes
        )

    async def close(self) -> None:
        """Stop the worker and free the model."""
        batcher, self._batcher = self._batcher, None
        preparer, self._preparer = self._preparer, None
        if batcher is not None:
            await asyncio.to_thread(batcher.close)
        if preparer is not None:
            preparer.shutdown(wait=False, cancel_futures=True)
        self._model = None
        self._kept.clear()

    def _job(
        self, prompt: Prompt, features: list[Features], sampling: Sampling, label_ids: dict[str, tuple[int, ...]]
    ) -> Job:
        """The request with its placeholders replaced. Raises PromptError where it does not fit."""
        token_ids = expand(prompt.token_ids, self._prompter.placeholder_id, features)
        loop = asyncio.get_running_loop()
        return Job(
            token_ids=token_ids,
            features=features,
            sampling=sampling,
            max_tokens=room(len(token_ids), sampling.max_tokens, self._context),
            label_ids=label_ids,
            loop=loop,
            future=loop.create_future(),
            draw=self._generator(sampling),
            # Mllama lets a row without a picture attend evenly to its neighbours' pictures where they share a batch.
            group="beside" if is_beside(features) else "",
        )

    def _generator(self, sampling: Sampling) -> Any:
        """The row's own dice; without a seed the order of requests decides."""
        if sampling.temperature <= 0:
            return None
        import torch

        self._draws += 1
        seed = sampling.seed if sampling.seed is not None else self._config.seed * 1_000_003 + self._draws
        return torch.Generator().manual_seed(seed)

    async def _features(self, picture: Picture) -> Features:
        """A picture's features, made once while they are kept."""
        kept = self._kept.get(picture.sha256)
        if kept is not None:
            self._kept.move_to_end(picture.sha256)
            return kept
        made = await asyncio.get_running_loop().run_in_executor(self._preparer, self._make_features, picture)
        if picture.sha256 not in self._kept:
            self._kept[picture.sha256] = made
            self._kept_bytes += made.bytes
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.popitem(last=False)[1].bytes
        return made

    def _make_features(self, picture: Picture) -> Features:
        image = prepare(picture, self._config.picture_prep)
        return make(self._processor, self._prompter.placeholder, image)

    def _run(self, jobs: list[Job]) -> list[Job]:
        """One batch through the model, in the worker thread; gives back rows that are to be continued."""
        import torch

        batch = self._collate(jobs)
        placeholder = self._prompter.placeholder_id
        decoding = Decoding(jobs, batch["input_ids"].shape[1], self._eos, placeholder, self._should_break)
        try:
            with torch.inference_mode():
                self._model.generate(
                    **batch,
                    max_new_tokens=max(job.max_tokens - len(job.generated) for job in jobs),
                    logits_processor=[decoding.scores],
                    stopping_criteria=[decoding.stop],
                )
        except torch.AcceleratorError as error:
            raise EngineDeadError(f"the accelerator failed: {str(error).splitlines()[0]}") from error
        self._encodes += sum(len(job.features) for job in jobs)
        return decoding.unfinished()

    def _should_break(self, steps: int, writing: int, rows: int) -> bool:
        waiting = self._batcher.waiting() if self._batcher is not None else 0
        return steps >= STRAGGLER_STEPS and writing * STRAGGLERS <= rows and waiting * 2 >= self._batch_size

    def _collate(self, jobs: list[Job]) -> dict[str, Any]:
        """Left-padded ids, their mask, and all pictures' tensors one behind the other."""
        import torch

        rows = [job.token_ids + job.generated for job in jobs]
        width = max(map(len, rows))
        pad = self._model.generation_config.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        batch: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        pictures: list[Features] = [features for job in jobs for features in job.features]
        if any(features.types is not None for features in pictures):
            batch["mm_token_type_ids"] = torch.tensor(
                [
                    [0] * (width - len(row)) + types_of(job.token_ids, job.features, len(row))
                    for job, row in zip(jobs, rows, strict=True)
                ]
            )
        if is_beside(pictures):
            batch |= beside([job.features for job in jobs], ids, self._prompter.placeholder_id)
        else:
            for name in pictures[0].tensors if pictures else ():
                batch[name] = stack([features.tensors[name] for features in pictures])
        return {name: self._place(tensor) for name, tensor in batch.items()}

    def _place(self, tensor: Any) -> Any:
        return tensor.to(self._device, self._model.dtype if tensor.is_floating_point() else tensor.dtype)


def _load_model(config: BackendConfig, device: Any) -> Any:
    """float32 on CPU (bfloat16 is slow and inexact there), bfloat16 on GPU, unless `--engine-arg dtype=` says other."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    loader = AutoModelForCausalLM if config.text_only else AutoModelForImageTextToText
    dtype = str(config.engine_args.get("dtype", "float32" if device.type == "cpu" else "bfloat16"))
    kept = {k: v for k, v in config.engine_args.items() if k == "attn_implementation"}
    found = class_of(config.model, config.revision, trust_remote_code=config.trust_remote_code)
    try:
        model = loader.from_pretrained(
            config.model,
            revision=config.revision,
            dtype=getattr(torch, dtype.removeprefix("torch.")),
            trust_remote_code=config.trust_remote_code,
            **kept,
        )
        if config.adapter is not None:
            model = _with_adapter(model, config.adapter, merge=dtype.endswith("float32"))
        return model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise UsageError(f"--model {config.model}: does not fit into the memory of {device}: {error}") from error
    except ModuleNotFoundError as error:
        raise UsageError(f"--adapter {config.adapter}: needs peft (pip install 'ecso-engine[train]')") from error
    except Exception as error:
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        kind = "language model" if config.text_only else "vision-language model"
        raise UsageError(f"--model {config.model}: {found} does not load as a {kind}: {first}") from error


def _with_adapter(model: Any, adapter: str, *, merge: bool) -> Any:
    """The model with its LoRA layers; folded in where the numbers are exact enough for it."""
    from peft import PeftModel

    from engine.backends.weights import adapter_folder

    tuned = PeftModel.from_pretrained(model, adapter_folder(adapter))
    return tuned.merge_and_unload() if merge else tuned.get_base_model()


def _set_threads(model: Any, given: Any) -> None:
    """A small model computes on one thread: two gain nothing on matrices this size, and where the cores are shared
    their spinning barriers cost 35 times (measured: 12 against 420 calls/s beside a training run on 2 cores)."""
    import torch

    if given is not None:
        torch.set_num_threads(int(given))
    elif sum(parameter.numel() for parameter in model.parameters()) < SMALL_MODEL:
        torch.set_num_threads(1)


def _neutral_generation(model: Any, tokenizer: Any) -> frozenset[int]:
    """Replace the checkpoint's own sampling defaults (the request says how to draw) and give its end-of-text ids."""
    from transformers import GenerationConfig

    own = model.generation_config
    ids = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
    eos = [ids] if isinstance(ids, int) else list(ids or [])
    pad = next((i for i in (tokenizer.pad_token_id, own.pad_token_id, *eos, 0) if i is not None), 0)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=eos or None, pad_token_id=pad, bos_token_id=own.bos_token_id, use_cache=True
    )
    return frozenset(eos)
