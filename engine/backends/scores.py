"""Models that say a number, as backends: a helper of a strategy is asked like any model, and its steps are recorded.

`reward`: a sequence classifier with one logit; its sigmoid (0..1, more is better) is the reply. A conversation is put
through the tokenizer's chat template; a tokenizer without one reads the last turn alone, as MLLM-Protector's detector
does. `clip`: the cosine of a text and each picture by a CLIP model; the reply is the highest. Both run on transformers,
from a folder or the Hub. Not covered: reward models with heads of their own (ArmoRM's gated score), several GPUs.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Any

from engine.admission import Claim
from engine.backends.base import BackendConfig, BackendStats
from engine.backends.batching import Answer, Batcher, Job
from engine.backends.classifier import SequenceHead
from engine.backends.processors import TextProcessor
from engine.backends.prompting import Prompter, prepare
from engine.backends.weights import loading
from engine.errors import EngineDeadError, UsageError
from engine.types import Completion, Message, Query, Sampling

REWARD_TOKENS = 4096
"""A longer conversation is cut at its end."""
BATCH = 16


class ScoreBackend:
    """What the two share: a queue, one thread that computes, and numbers as replies."""

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._batcher: Batcher | None = None
        self._requests = self._prompt_tokens = 0

    @property
    def capacity(self) -> int:
        """In rows; the model that answers decides how many rows are in flight."""
        return 2**31

    def cost(self, query: Query) -> Claim:  # noqa: ARG002 (the seam's signature)
        return Claim(1)

    async def start(self) -> None:
        """Load the model. Raises UsageError where it is none of this kind."""
        await asyncio.to_thread(self._load)
        self._batcher = Batcher(self._run, BATCH)
        self._batcher.start()

    async def generate(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """The number as text."""
        if self._batcher is None:
            raise EngineDeadError("the helper is not started, or closed")
        started = time.monotonic()
        ids = self._ids(messages)
        loop = asyncio.get_running_loop()
        pictures = list(messages[-1].pictures)
        job = Job(ids, pictures, sampling, 1, {}, loop, loop.create_future())
        self._batcher.submit(job)
        answer: Answer = await job.future
        self._requests += 1
        self._prompt_tokens += len(ids)
        seconds = time.monotonic() - started
        said = (answer.label_logprobs or {})["score"]
        return Completion(f"{said:.6g}", "stop", sha256(messages), len(ids), 0, 0, None, seconds)

    def stats(self) -> BackendStats:
        return BackendStats(self._prompt_tokens, 0, 0, self._requests)

    async def close(self) -> None:
        """Stop the thread and free the model. Safe to call twice."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await asyncio.to_thread(batcher.close)

    def _run(self, jobs: list[Job]) -> list[Job]:
        import torch

        try:
            with torch.inference_mode():
                found = self._scores(jobs)
        except torch.AcceleratorError as error:
            raise EngineDeadError(f"the accelerator failed: {str(error).splitlines()[0]}") from error
        for job, value in zip(jobs, found, strict=True):
            job.label_logprobs = {"score": value}
            job.finish("stop")
        return []

    def _load(self) -> None:
        raise NotImplementedError

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        raise NotImplementedError

    def _scores(self, jobs: list[Job]) -> list[float]:
        raise NotImplementedError


class RewardBackend(ScoreBackend):
    """Conversations ending in an answer -> the answer's reward."""

    def _load(self) -> None:
        from engine.judges.classifier import Head

        config = self._config
        device, dtype = place(config)
        head = Head("reward", "sequence", config.model, 1, REWARD_TOKENS, revision=config.revision)
        self._head = SequenceHead(head, config, device, dtype)
        tokenizer = self._head.tokenizer
        self._prompter = Prompter(TextProcessor(tokenizer)) if tokenizer.chat_template else None

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        if self._prompter is None:
            return self._head.ids(messages[-1].text)
        return list(self._prompter.prompt(messages, answered=True).token_ids[:REWARD_TOKENS])

    def _scores(self, jobs: list[Job]) -> list[float]:
        import torch

        logits = [row["0"] for row in self._head.run(jobs)]
        return list(torch.tensor(logits).sigmoid().tolist())


class ClipBackend(ScoreBackend):
    """A text and pictures -> the highest cosine."""

    def _load(self) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        config = self._config
        self._device, dtype = place(config)
        where = {"revision": config.revision}
        self._tokenizer = loading(config.model, lambda: AutoTokenizer.from_pretrained(config.model, **where))
        self._pictures = loading(config.model, lambda: AutoImageProcessor.from_pretrained(config.model, **where))
        self._model: Any
        self._model, info = loading(
            config.model,
            lambda: CLIPModel.from_pretrained(config.model, dtype=dtype, output_loading_info=True, **where),
        )
        if info["missing_keys"]:
            raise UsageError(f"{config.model}: holds no {sorted(info['missing_keys'])[0]}: it is no whole CLIP model")
        self._model = self._model.to(self._device).eval()

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        """Cut at the text tower's length."""
        longest = self._model.config.text_config.max_position_embeddings
        asked = {"truncation": True, "max_length": longest, "split_special_tokens": True}
        return list(self._tokenizer(messages[-1].text, **asked)["input_ids"])

    def _scores(self, jobs: list[Job]) -> list[float]:
        return [self._likeness(job) for job in jobs]

    def _likeness(self, job: Job) -> float:
        import torch

        images = [prepare(picture, self._config.picture_prep) for picture in job.features]
        pixels = self._pictures(images=images, return_tensors="pt")["pixel_values"]
        ids = torch.tensor([job.token_ids], device=self._device)
        found = self._model(input_ids=ids, pixel_values=pixels.to(self._device, self._model.dtype))
        return float((found.image_embeds.float() @ found.text_embeds.float().T).max())


def place(config: BackendConfig) -> tuple[Any, Any]:
    """(device, dtype): bfloat16 on a GPU, where there is one and no other device is asked for."""
    import torch

    device = torch.device(str(config.engine_args.get("device", "cuda" if torch.cuda.is_available() else "cpu")))
    return device, torch.float32 if device.type == "cpu" else torch.bfloat16


def sha256(messages: Sequence[Message]) -> str:
    """Over roles, texts and pictures."""
    whole = hashlib.sha256()
    for message in messages:
        whole.update(f"{message.role}\0{message.text}\0".encode("utf-8", "surrogatepass"))
        for picture in message.pictures:
            whole.update(picture.sha256.encode())
    return whole.hexdigest()
