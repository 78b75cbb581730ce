"""Classifiers of transformers in batches: sequence classifiers (with LoRA or without), GuardRank's RoBERTa, and picture
models that answer policies. One thread computes; an out-of-memory batch is halved (`batching`).

Covers: local folders and the Hub. Refused when loading: a classification layer that no file holds, which transformers
would fill with random numbers and go on. Special-token strings in a text stay text. Not covered: several GPUs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.admission import Claim
from engine.backends.base import BackendConfig
from engine.backends.batching import Answer, Batcher, Job
from engine.backends.prompting import prepare
from engine.backends.weights import LAYERS, check_adapter, loading, tensors, with_adapter
from engine.errors import EngineDeadError, UsageError
from engine.types import Picture, Query, Sampling

if TYPE_CHECKING:
    from engine.judges.classifier import Head

ENGINE_ARGS = {"dtype", "device", "batch_size"}
BATCH_CPU, BATCH_GPU = 16, 32
ROWS_PER_BATCH = 3
OWN_CODE = "a score that code of the model's own makes (as ArmoRM's) is not supported, with --trust-remote-code neither"


class TransformersClassifier:
    """Some heads, one worker thread."""

    def __init__(self, config: BackendConfig, heads: Sequence[Head]) -> None:
        unknown = sorted(set(config.engine_args) - ENGINE_ARGS)
        if unknown:
            raise UsageError(f"--engine-arg {unknown[0]}: unknown to a classifier; it takes {sorted(ENGINE_ARGS)}")
        self._config = config
        self._heads = {head.name: head for head in heads}
        self._loaded: dict[str, Any] = {}
        self._batcher: Batcher | None = None
        self._batch_size = BATCH_CPU

    @property
    def capacity(self) -> int:
        return self._batch_size * ROWS_PER_BATCH

    def cost(self, query: Query) -> Claim:  # noqa: ARG002 (the seam's signature)
        return Claim(1)

    async def start(self) -> None:
        """Load every head. Raises UsageError."""
        await asyncio.to_thread(self._load)
        self._batcher = Batcher(self._run, self._batch_size)
        self._batcher.start()

    def _load(self) -> None:
        import torch

        args = self._config.engine_args
        device = torch.device(str(args.get("device", "cuda" if torch.cuda.is_available() else "cpu")))
        self._batch_size = int(args.get("batch_size", BATCH_CPU if device.type == "cpu" else BATCH_GPU))
        dtype = str(args.get("dtype", "float32" if device.type == "cpu" else "bfloat16")).removeprefix("torch.")
        kinds = {"sequence": SequenceHead, "roberta_relu": RobertaHead, "policies": PolicyHead}
        for name, head in self._heads.items():
            self._loaded[name] = kinds[head.kind](head, self._config, device, getattr(torch, dtype))

    async def logits(self, head: str, text: str) -> list[float]:
        """The logits of one text, in the order of the labels."""
        return (await self.measured(head, text))[1]

    async def measured(self, head: str, text: str) -> tuple[int, list[float]]:
        """(tokens read, logits) of one text."""
        ids = self._loaded[head].ids(text)
        answer = await self._submit(head, ids, None)
        return len(ids), [answer[str(label)] for label in range(self._heads[head].labels)]

    async def policies(self, head: str, picture: Picture) -> dict[str, float]:
        """Policy -> probability that the picture violates it."""
        return await self._submit(head, [], picture)

    async def _submit(self, head: str, ids: list[int], picture: Picture | None) -> dict[str, float]:
        if self._batcher is None:
            raise EngineDeadError("the classifier is not started, or closed")
        loop = asyncio.get_running_loop()
        job = Job(ids, [head, picture], Sampling(1), 1, {}, loop, loop.create_future())
        self._batcher.submit(job)
        answer: Answer = await job.future
        return answer.label_logprobs or {}

    def _run(self, jobs: list[Job]) -> list[Job]:
        """One batch, head by head, in the worker thread."""
        import torch

        for name, loaded in self._loaded.items():
            mine = [job for job in jobs if job.features[0] == name]
            if not mine:
                continue
            try:
                with torch.inference_mode():
                    found = loaded.run(mine)
            except torch.AcceleratorError as error:
                raise EngineDeadError(f"the accelerator failed: {str(error).splitlines()[0]}") from error
            for job, values in zip(mine, found, strict=True):
                job.label_logprobs = values
                job.finish("stop")
        return []

    async def close(self) -> None:
        """Stop the worker and free the models. Safe to call twice."""
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await asyncio.to_thread(batcher.close)
        self._loaded.clear()


class _Text:
    """What text heads share: ids cut to the head's length, batches padded on the right."""

    tokenizer: Any
    device: Any

    def __init__(self, head: Head) -> None:
        self.head = head

    def ids(self, text: str) -> list[int]:
        """Token ids with the tokenizer's own begin and end marks, cut as the head was trained."""
        cut = {"max_length": self.head.max_tokens, "truncation": True}
        return list(self.tokenizer(text, split_special_tokens=True, **cut)["input_ids"])

    def run(self, jobs: list[Job]) -> list[dict[str, float]]:
        import torch

        width = max(len(job.token_ids) for job in jobs)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([job.token_ids + [pad] * (width - len(job.token_ids)) for job in jobs])
        mask = torch.tensor([[1] * len(job.token_ids) + [0] * (width - len(job.token_ids)) for job in jobs])
        rows = self.forward(ids.to(self.device), mask.to(self.device)).float().tolist()
        return [{str(label): value for label, value in enumerate(row)} for row in rows]

    def forward(self, ids: Any, mask: Any) -> Any:
        raise NotImplementedError


class SequenceHead(_Text):
    """An AutoModelForSequenceClassification, with or without a LoRA adapter."""

    def __init__(self, head: Head, config: BackendConfig, device: Any, dtype: Any) -> None:
        from transformers import AutoModelForSequenceClassification

        super().__init__(head)
        self.device, trust = device, config.trust_remote_code
        self.tokenizer = _tokenizer(head, trust)
        if head.adapter is not None:
            check_adapter(head.adapter)

        def load() -> Any:
            found, info = AutoModelForSequenceClassification.from_pretrained(
                head.model,
                revision=head.revision,
                num_labels=head.labels,
                dtype=dtype,
                trust_remote_code=trust,
                output_loading_info=True,
            )
            return (with_adapter(found, head.adapter) if head.adapter else found), info

        self.model, info = loading(head.model, load)
        random = [key for key in info["missing_keys"] if any(layer in key for layer in LAYERS)]
        if head.adapter is None and random:
            raise UsageError(
                f"--model {head.model}: holds no classification layer ({random[0]}): it is no trained classifier of "
                f"{head.labels} labels; {OWN_CODE}"
            )
        if not is_known(self.model):
            raise UsageError(f"--model {head.model}: {type(self.model).__name__} is code of its own; {OWN_CODE}")
        self.model.config.pad_token_id = self.tokenizer.pad_token_id
        self.model = self.model.to(device).eval()

    def forward(self, ids: Any, mask: Any) -> Any:
        return self.model(input_ids=ids, attention_mask=mask).logits


class RobertaHead(_Text):
    """RoBERTa's pooled output through dropout 0.5, linear and relu (facts of GuardRank's encoder)."""

    def __init__(self, head: Head, config: BackendConfig, device: Any, dtype: Any) -> None:
        import torch
        from transformers import AutoConfig, RobertaModel

        super().__init__(head)
        self.device = device
        self.tokenizer = _tokenizer(head, config.trust_remote_code)
        sizes = loading(head.model, lambda: AutoConfig.from_pretrained(head.model, revision=head.revision))
        self.roberta = RobertaModel(sizes)
        self.linear = torch.nn.Linear(sizes.hidden_size, head.labels)
        weights = tensors(head.weights or head.model)
        whole = torch.nn.ModuleDict({"roberta": self.roberta, "linear": self.linear})
        weights.pop("roberta.embeddings.position_ids", None)  # older versions wrote this buffer
        try:
            whole.load_state_dict(weights)
        except RuntimeError as error:
            raise UsageError(f"{head.weights}: does not fit {head.model} with {head.labels} labels: {error}") from error
        whole.to(device, dtype).eval()

    def forward(self, ids: Any, mask: Any) -> Any:
        """Dropout does nothing here: it is for training."""
        pooled = self.roberta(input_ids=ids, attention_mask=mask).pooler_output
        return self.linear(pooled).relu()


class PolicyHead:
    """ShieldGemma 2: a picture and a policy each, P(Yes) against P(No): yes violates."""

    def __init__(self, head: Head, config: BackendConfig, device: Any, dtype: Any) -> None:
        from transformers import AutoProcessor, ShieldGemma2ForImageClassification

        self.head, self.device, self._prep = head, device, config.picture_prep
        self.processor = loading(head.model, lambda: AutoProcessor.from_pretrained(head.model, revision=head.revision))
        if not hasattr(self.processor, "policy_definitions"):
            raise UsageError(f"--model {head.model}: {type(self.processor).__name__} knows no policies")
        self.model = loading(
            head.model,
            lambda: ShieldGemma2ForImageClassification.from_pretrained(head.model, revision=head.revision, dtype=dtype),
        )
        self.model = self.model.to(device).eval()
        self.dtype = dtype
        self.custom = dict(head.policies)
        self.names = list(self.custom or self.processor.policy_definitions)

    def run(self, jobs: list[Job]) -> list[dict[str, float]]:
        images = [[prepare(job.features[1], self._prep)] for job in jobs]
        asked: dict[str, Any] = {"policies": self.names}
        if self.custom:
            asked["custom_policies"] = self.custom
        batch = self.processor(images=images, return_tensors="pt", **asked)
        tensors = {
            name: value.to(self.device, self.dtype if value.is_floating_point() else value.dtype)
            for name, value in batch.items()
        }
        said = self.model(**tensors).probabilities[:, 0].float().tolist()
        wide = len(self.names)
        return [dict(zip(self.names, said[i * wide : (i + 1) * wide], strict=True)) for i in range(len(jobs))]


def is_known(model: Any) -> bool:
    """Whether the logits come from a classification layer: in a class of transformers, or one that is called so. What
    other code gives back as `logits` may be anything (ArmoRM: its gated score, one number a row)."""
    own = type(model).__module__.startswith("transformers_modules")
    return not own or any(hasattr(model, layer) for layer in LAYERS)


def _tokenizer(head: Head, trust: bool) -> Any:
    """Padding on the right, by the end mark where there is no mark for it (as these heads were trained)."""
    from transformers import AutoTokenizer

    tokenizer = loading(
        head.model,
        lambda: AutoTokenizer.from_pretrained(head.model, revision=head.revision, trust_remote_code=trust),
    )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
