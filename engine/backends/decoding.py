"""Between two tokens of a batch: each row's own draw, its label probabilities, its end."""

from __future__ import annotations

from typing import Any

from engine.backends.batching import Job
from engine.backends.labels import logsumexp
from engine.backends.prompting import NO_PLACEHOLDER
from engine.types import Sampling


class Decoding:
    """What happens between two tokens of a batch: draw each row's token, stop rows, deliver the finished ones."""

    def __init__(
        self, jobs: list[Job], prompt_width: int, eos: frozenset[int], placeholder: int, should_break: Any
    ) -> None:
        self._jobs = jobs
        self._placeholder = placeholder
        self._width = prompt_width
        self._eos = eos
        self._should_break = should_break
        self._done = [False] * len(jobs)

    def scores(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002 (generate's signature)
        """Label probabilities from the first raw logits; a sampled row's token is drawn here and made certain."""
        for row, job in enumerate(self._jobs):
            if self._done[row]:
                continue
            if job.label_ids and not job.generated:
                job.label_logprobs = _label_logprobs(scores[row], job.label_ids)
            # A sampled placeholder would stand for a picture that is not there, and end the whole batch.
            if NO_PLACEHOLDER < self._placeholder < scores.shape[-1]:  # some models cannot write it at all
                scores[row, self._placeholder] = float("-inf")
            if job.draw is not None:
                token = _draw(scores[row], job.sampling, job.draw)
                scores[row] = float("-inf")
                scores[row, token] = 0.0
        return scores

    def stop(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002 (generate's signature)
        """Note each row's new token, deliver finished rows, and say which rows are done."""
        import torch

        for row, token in enumerate(input_ids[:, -1].tolist()):
            if not self._done[row]:
                self._note(row, token)
        writing = self._done.count(False)
        if self._should_break(input_ids.shape[1] - self._width, writing, len(self._jobs)):
            return torch.ones(len(self._jobs), dtype=torch.bool, device=input_ids.device)
        return torch.tensor(self._done, device=input_ids.device)

    def unfinished(self) -> list[Job]:
        """Rows of a batch that was broken off."""
        return [job for job, done in zip(self._jobs, self._done, strict=True) if not done]

    def _note(self, row: int, token: int) -> None:
        job = self._jobs[row]
        if token in self._eos:
            self._done[row] = True
            job.finish("stop")
            return
        job.generated.append(token)
        if len(job.generated) >= job.max_tokens or job.future.cancelled():
            self._done[row] = True
            job.finish("length")


def _label_logprobs(logits: Any, label_ids: dict[str, tuple[int, ...]]) -> dict[str, float]:
    logprobs = logits.float().log_softmax(-1)
    return {label: logsumexp(logprobs[list(ids)].tolist()) for label, ids in label_ids.items()}


def _draw(logits: Any, sampling: Sampling, generator: Any) -> int:
    """One token by temperature and top-p, from the row's own generator."""
    import torch

    probabilities = (logits.float().cpu() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        ordered[ordered.cumsum(-1) - ordered > sampling.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(0, order, ordered)
    return int(torch.multinomial(probabilities, 1, generator=generator))
