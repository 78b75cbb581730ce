"""Dynamic batching: requests queue up, one thread takes as many of one kind as fit, and finished rows leave at once.

No torch in here: what a batch does is the caller's function. A long row holds up others as little as possible: rows are
delivered when they finish, not when their batch does, and a batch of stragglers is broken off when enough others wait
(its rows go back to the front of the queue with what they have written so far).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.errors import EcsoError, EngineDeadError, RequestError
from engine.types import Sampling

log = logging.getLogger(__name__)

LINGER_S = 0.004
"""How long a free worker waits for a fuller batch: rows that just got an answer ask again within a few milliseconds."""


class Answer(NamedTuple):
    """What a finished row brings back."""

    token_ids: list[int]
    finish_reason: str
    label_logprobs: dict[str, float] | None


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way. `generated` grows; `draw` is the row's own random generator."""

    token_ids: list[int]
    features: list[Any]
    sampling: Sampling
    max_tokens: int
    label_ids: dict[str, tuple[int, ...]]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Answer]
    generated: list[int] = field(default_factory=list)
    label_logprobs: dict[str, float] | None = None
    draw: Any = None
    group: str = ""
    """Rows of different groups never share a batch, where the model would answer them otherwise side by side."""
    settled: bool = False
    """Set in the worker at once; the future only follows when its event loop gets to it."""

    @property
    def kind(self) -> str:
        """Rows of one kind share a batch: `score` needs one forward pass, `write` a loop."""
        return ("score" if self.max_tokens == 1 else "write") + self.group

    def finish(self, reason: str) -> None:
        """Deliver the answer, from any thread."""
        self._settle(Answer(self.generated, reason, self.label_logprobs), None)

    def fail(self, error: EcsoError) -> None:
        """Deliver an error, from any thread."""
        self._settle(None, error)

    def _settle(self, answer: Answer | None, error: EcsoError | None) -> None:
        self.settled = True

        def settle() -> None:
            if self.future.done():  # the caller was cancelled
                return
            if error is not None:
                self.future.set_exception(error)
            elif answer is not None:
                self.future.set_result(answer)

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(settle)


class Batcher:
    """The queue and its worker thread. `run(jobs)` finishes or fails every job, or returns those to be continued."""

    def __init__(self, run: Callable[[list[Job]], Iterable[Job]], batch_size: int) -> None:
        self._run = run
        self.batch_size = batch_size
        self._pending: deque[Job] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self.dead: str | None = None
        self._thread = threading.Thread(target=self._work, name="ecso-batcher", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job. Raises EngineDeadError after the engine has died or was closed."""
        with self._ready:
            if self._closed or self.dead is not None:
                raise EngineDeadError(self.dead or "the transformers backend is closed")
            self._pending.append(job)
            self._ready.notify()

    def waiting(self) -> int:
        """Jobs in the queue."""
        return len(self._pending)

    def close(self) -> None:
        """Stop after the batch at hand; what still waits fails. Safe to call twice."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._fail_pending("the transformers backend was closed")

    def _work(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                return
            try:
                self._attempt(batch)
            except EngineDeadError as error:
                self._die(str(error), batch)
                return

    def _take(self) -> list[Job]:
        """The fullest kind's oldest jobs; nothing when closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._pending or self._closed)
            if not self._closed and len(self._pending) < self.batch_size:
                self._ready.wait_for(lambda: len(self._pending) >= self.batch_size or self._closed, LINGER_S)
            if self._closed:
                return []
            kind = Counter(job.kind for job in self._pending).most_common(1)[0][0]
            chosen = [job for job in self._pending if job.kind == kind][: self.batch_size]
            taken = set(map(id, chosen))
            self._pending = deque(job for job in self._pending if id(job) not in taken)
        return [job for job in chosen if not job.future.cancelled()] or self._take()

    def _attempt(self, jobs: list[Job]) -> None:
        """Run; where a batch fails, its halves are tried, so that one bad row fails alone.

        Out of memory makes batches smaller for good: the next one would not fit either.
        """
        try:
            rest = list(self._run(jobs))
        except EngineDeadError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever the model raises is this row's error, or halves the batch)
            self._halve(jobs, error)
            return
        if rest:
            with self._ready:
                self._pending.extendleft(reversed(rest))

    def _halve(self, jobs: list[Job], error: Exception) -> None:
        if is_out_of_memory(error) and len(jobs) > 1:
            self.batch_size = min(self.batch_size, max(1, len(jobs) // 2))
            log.warning("out of memory with %d rows in a batch: at most %d from now on", len(jobs), self.batch_size)
        open_jobs = [job for job in jobs if not job.settled]
        if len(open_jobs) == 1 == len(jobs):
            open_jobs[0].fail(RequestError(f"the model failed on this request: {type(error).__name__}: {error}"[:1000]))
            return
        middle = (len(open_jobs) + 1) // 2
        for half in (open_jobs[:middle], open_jobs[middle:]):
            if half:
                self._attempt(half)

    def _die(self, message: str, batch: list[Job]) -> None:
        with self._ready:
            self.dead = message
        for job in batch:
            job.fail(EngineDeadError(message))
        self._fail_pending(message)

    def _fail_pending(self, message: str) -> None:
        with self._ready:
            pending, self._pending = self._pending, deque()
        for job in pending:
            job.fail(EngineDeadError(message))


def is_out_of_memory(error: Exception) -> bool:
    """torch.OutOfMemoryError on GPUs; on CPUs the allocator raises a bare RuntimeError, known by its words only."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or "can't allocate memory" in str(error)
