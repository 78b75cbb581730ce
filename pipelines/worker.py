"""The actor: one engine, one event loop, hundreds of rows in flight, each finished row in the journal at once.

Ray calls it with small blocks from several threads; every row becomes one coroutine on the worker's own loop, admitted
by the engine's capacity. What leaves through Ray is acknowledgements only: the journal is the data path.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import queue
import sys
import threading
import time
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import asdict
from typing import Any, NoReturn, TypeVar

import pyarrow as pa
import ray

from engine import strategies
from engine.admission import Admission
from engine.answering import answer, failed
from engine.backends import Backend, create
from engine.backends.helpers import create_helper, total
from engine.errors import EngineDeadError, OutputError, SourceError, UsageError
from engine.planning import WorkerSetup
from pipelines.blocks import Ack, Row, acks_to_table, to_rows, unwrap, wrap
from pipelines.control import ask
from pipelines.ledger import Ledger
from pipelines.logs import to_logs

CONTROL_EVERY_S = 0.5
REFRESH_S = 2.0
START_AGAIN_S = 5.0
CONDEMNED = 3
"""In flight at so many ends of an engine, at the last one as the only suspect, a row is an error, not asked again."""
ACKS_EVERY_S = 1.0
ACKS_AT_ONCE = 256
LONGEST_KEPT_S = 20.0
"""How long an acknowledgement waits for its segment on an object store: without an end to it, a worker would get no new
block before it had finished all that it holds."""
T = TypeVar("T")


class Call:
    """The rows of one block on their way back: acknowledgements gather here, and go out many at once (each that went by
    itself would cost a block of Ray's and a change of threads). `ended` runs on the loop, `batches` in Ray's thread."""

    def __init__(self, rows: int, loop: asyncio.AbstractEventLoop) -> None:
        self._left = rows
        self._loop = loop
        self._acks: list[Ack] = []
        self._out: queue.SimpleQueue[list[Ack] | BaseException] = queue.SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None

    def ended(self, task: asyncio.Task[Ack]) -> None:
        """One more row: at the last one, at ACKS_AT_ONCE, or at the next beat what is there is sent. Beats are
        ACKS_EVERY_S apart and the same for all blocks: Ray and the driver wake once for what a dozen of them say."""
        error = task.exception()
        if error is not None:
            self._out.put(error)
            return
        self._acks.append(task.result())
        self._left -= 1
        if not self._left or len(self._acks) >= ACKS_AT_ONCE:
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(ACKS_EVERY_S - self._loop.time() % ACKS_EVERY_S, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        acks, self._acks = self._acks, []
        self._out.put(acks)

    def batches(self, rows: int) -> Iterator[list[Ack] | BaseException]:
        """Acknowledgements until all `rows` are there, or what ended a row's task."""
        while rows:
            acks = self._out.get()
            rows -= 0 if isinstance(acks, BaseException) else len(acks)
            yield acks


class GenerateWorker:
    """`__call__` takes a block and yields acknowledgements as rows finish. Safe for concurrent calls."""

    def __init__(self, setup: WorkerSetup, control: Any) -> None:
        self._setup = setup
        self._control = control
        self._local = "://" not in setup.out
        self._is_elsewhere = self._local and not os.path.isdir(setup.out)
        self._id = uuid.uuid4().hex
        to_logs(setup.logs, f"worker-{self._id[:8]}")
        self._stopping = threading.Event()
        self._unkept: list[asyncio.Future[None]] = []
        self._flushing = False
        self._tasks: set[asyncio.Task[Ack]] = set()  # the loop itself holds tasks weakly
        self._helpers: dict[str, Backend] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="rows", daemon=True).start()
        self._ready = self._start()
        if not self._ready:
            return
        self._admission = Admission(self._backend.capacity)
        self._ledger = Ledger(setup, self._id, ray.get_runtime_context().was_current_actor_reconstructed)
        self._asked: set[str] = set()
        self._suspects: dict[str, int] = ask(control.suspects.remote(), {})
        self._one_suspect = asyncio.Lock()
        self._told = threading.Lock()
        threading.Thread(target=self._watch, name="control", daemon=True).start()

    def _start(self) -> bool:
        """Load the model. What no retry can mend is told to the driver, and this worker answers nothing."""
        if ask(self._control.starting.remote(), None) is not None:
            self._stopping.set()
            return False
        try:
            if self._is_elsewhere:
                raise UsageError(
                    f"--out {self._setup.out}: not on node {platform.node()}; give a folder that all nodes share"
                )
            self._strategy = strategies.create(self._setup.strategy, self._setup.options)
            self._backend = create(self._setup.backend)
            self._run(self._backend.start())
            self._helpers = {helper.role: create_helper(helper) for helper in self._setup.helpers}
            for helper in self._helpers.values():
                self._run(helper.start())
        except UsageError as error:
            if not ray.get(self._control.unfit.remote(str(error))):
                print(f"did not start: {error}", file=sys.stderr, flush=True)
                time.sleep(START_AGAIN_S)
                os._exit(1)
            self._stopping.set()
            return False
        return True

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _watch(self) -> None:
        """Follow the control actor, and tell it this worker's counters; without it there is no driver to work for."""
        while True:
            try:
                stop = ray.get(self._report(), timeout=30)
            except ray.exceptions.ActorDiedError:
                stop = "no driver"
            except ray.exceptions.RayError:
                stop = None  # busy, or about to start again
            if stop is not None:
                self._stopping.set()
            time.sleep(CONTROL_EVERY_S)

    def _report(self) -> Any:
        parts = [self._backend.stats(), *(helper.stats() for helper in self._helpers.values())]
        return self._control.stats.remote(self._id, asdict(total(parts)))

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        rows = [row for table in unwrap(batch) for row in to_rows(table)]
        call = Call(len(rows), self._loop)
        self._loop.call_soon_threadsafe(self._submit, rows, call)
        for acks in call.batches(len(rows)):
            if isinstance(acks, BaseException):
                self._die(acks)
            yield wrap(acks_to_table(acks))

    def _submit(self, rows: list[Row], call: Call) -> None:
        """One coroutine a row (on the loop's own thread: one wake-up a block, not one a row)."""
        for row in rows:
            task = self._loop.create_task(self._handle(row))
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._deliver(done, call))

    def _deliver(self, task: asyncio.Task[Ack], call: Call) -> None:
        self._tasks.discard(task)
        self._flush_if_idle()
        if self._tasks or not self._ready:
            call.ended(task)
        else:
            self._last = self._loop.create_task(self._deliver_last(task, call))

    async def _deliver_last(self, task: asyncio.Task[Ack], call: Call) -> None:
        """Nothing else is in flight, perhaps for good: what the engines count goes to the control actor before the
        acknowledgement, so that the manifest has all of it."""
        refresh = getattr(self._backend, "refresh", None)  # only an engine in a process of its own has one
        if refresh is not None:
            with contextlib.suppress(Exception):  # a counter must not end a run
                await asyncio.wait_for(refresh(), REFRESH_S)
        self._report()
        call.ended(task)

    async def _handle(self, row: Row) -> Ack:
        query = row.query
        if self._stopping.is_set():
            return Ack(query.query_id, "skipped")
        if row.duplicate:
            return await self._durable(self._ledger.note(query))
        if row.problem is not None:
            error = type(row.problem_type or "SourceError", (SourceError,), {})(row.problem)
            return await self._durable(self._ledger.keep(query, failed(query, self._setup.facts, "source", error)))
        ends = self._suspects.get(query.query_id, 0)
        if ends >= CONDEMNED and self._ledger.standing(query) is None:
            dead = EngineDeadError(f"the engine died {ends} times while this row was in flight")
            return await self._durable(
                self._ledger.keep_with_pictures(query, failed(query, self._setup.facts, "engine", dead))
            )
        # One suspect at a time: at the engine's next end, no other one is taken for its cause.
        alone = self._one_suspect if ends else contextlib.nullcontext()
        async with alone, self._admission.hold(self._backend.cost(query)):
            if self._stopping.is_set():
                return Ack(query.query_id, "skipped")
            standing = self._ledger.standing(query)
            if standing == "again":
                return Ack(query.query_id, "again")
            if standing == "duplicate":
                return await self._durable(self._ledger.note(query))
            self._asked.add(query.query_id)
            transcript = await answer(query, self._strategy, self._backend, self._setup.facts, self._helpers)
            self._asked.discard(query.query_id)  # not after an error: it was in flight when the engine died
        return await self._durable(self._ledger.keep_with_pictures(query, transcript))

    async def _durable(self, ack: Ack) -> Ack:
        """On an object store, hold the acknowledgement back until its segment is there: for LONGEST_KEPT_S at most,
        and no longer than until every row of this worker waits for that."""
        if self._local:
            return ack
        kept: asyncio.Future[None] = self._loop.create_future()
        self._unkept.append(kept)
        if len(self._unkept) == 1:
            self._loop.call_later(LONGEST_KEPT_S, self._flush_due)
        self._flush_if_idle()
        await kept
        return ack

    def _flush_due(self) -> None:
        """The oldest acknowledgement has waited long enough (or its turn comes when the flush at hand is over)."""
        if self._flushing:
            self._loop.call_later(1.0, self._flush_due)
        else:
            self._begin_flush()

    def _flush_if_idle(self) -> None:
        if not self._flushing and len(self._unkept) >= len(self._tasks):
            self._begin_flush()

    def _begin_flush(self) -> None:
        if self._unkept:
            self._flushing = True
            task = self._loop.create_task(self._flush())
            task.add_done_callback(lambda _: self._flush_if_idle())

    async def _flush(self) -> None:
        waiting, self._unkept = self._unkept, []
        try:
            await asyncio.to_thread(self._ledger.writer.flush)
        except OutputError as error:
            for kept in waiting:
                kept.set_exception(error)
            return
        finally:
            self._flushing = False
        for kept in waiting:
            kept.set_result(None)

    def _die(self, error: BaseException) -> NoReturn:
        """A dead engine ends its process: Ray starts another actor and sends it the unfinished blocks again.
        `os._exit`, since an exception would be retried on this same actor for ever, and `exit_actor` is not retried
        at all. The journal needs no flush: every acknowledged row is in the file already."""
        kind = "engine dead" if isinstance(error, EngineDeadError) else "worker failed"
        print(f"{kind}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if not isinstance(error, EngineDeadError):
            # A write that failed: another actor would fail the same way, so the run stops with the cause.
            self._control.stop.remote(f"failed: {type(error).__name__}: {error}")
        elif self._told.acquire(blocking=False):  # once, although each of this worker's calls ends here
            ask(self._control.died.remote(sorted(self._asked.copy())), None)
        try:
            asyncio.run_coroutine_threadsafe(self._close_models(), self._loop).result(timeout=10)
            self._ledger.writer.close()
        finally:
            if isinstance(error, EngineDeadError):
                os._exit(1)
        raise error

    def close(self) -> None:
        """Stop the engine's processes and flush the journal (called by Ray when the pool shuts down)."""
        if hasattr(self, "_ledger"):
            self._ledger.writer.close()
        if hasattr(self, "_backend"):
            self._run(self._close_models())

    async def _close_models(self) -> None:
        for model in (self._backend, *self._helpers.values()):
            await model.close()

    def __del__(self) -> None:
        self.close()
