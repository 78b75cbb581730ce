"""The main dataflow: windows of a source -> small blocks -> workers -> journal -> seal.

Ray Data moves blocks to the workers and acknowledgements back; the rows themselves go from the worker straight into
the journal. So a run can be killed anywhere, and what was acknowledged is there.
"""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.breaker import Breaker
from engine.config import GenerateConfig
from engine.errors import BreakerError, EcsoError, OutputError, UsageError
from engine.planning import Job, WorkerSetup
from engine.progress import Display, Tally
from pipelines import cluster
from pipelines.placement import cpus_of, missing_gpus, reader_cpus, remove_groups

CALLS_PER_WORKER = 16
"""Blocks that one worker works on at once: with 32 rows each or more, more rows than an engine admits."""
QUEUED_PER_WORKER = CALLS_PER_WORKER + 2
"""Blocks that are sent to one worker: two wait there, so that it never waits for Ray."""
READERS_PER_WORKER = 2
"""A reader checks some 200 JPEG or 25 PNG photos of 0.8 megapixels a second, so that two keep up with an engine; each
is a process whose start takes two seconds of processor time, and Ray by itself starts as many as there is room for."""
LOOK_EVERY_S, HEED_EVERY_S = 0.2, 1.0
"""How often the control actor is asked: while engines start or the run ends, and in between (each question takes
milliseconds from the engine where it shares the cores)."""


@dataclass
class Stop:
    """Why a run ends before its last row. The first reason stands."""

    reason: str | None = None
    exit_code: int = 0
    error: EcsoError | None = None
    deadline: float | None = None
    signals: int = 0
    is_sealing: bool = False
    stats: dict[str, Any] = field(default_factory=dict)

    def because(self, reason: str, *, code: int = 0, error: EcsoError | None = None) -> None:
        if self.reason is None:
            self.reason, self.exit_code, self.error = reason, code, error


def execute(
    job: Job, run_id: str, done: Any, tally: Tally, lost: threading.Event | None = None, stop: Stop | None = None
) -> Stop:
    """Run the rows of `job` that are not in `done` through the workers. Returns why it ended; raises nothing of Ray's.

    Rows that were in flight when it ends early are finished within `drain_s`, or asked again by the next run.
    """
    config, setup = job.config, job.setup(run_id)
    lost = lost or threading.Event()
    high = config.pool[1]
    stop = stop or Stop()
    cpus = cpus_of(setup.backend, workers=high, cores=cluster.cores())
    with cluster.joined(slots=high * cpus + 2, logs=setup.logs):
        cluster.configure(workers=high)
        import ray

        from pipelines import control

        there = ray.cluster_resources()
        if (missing := missing_gpus(setup.backend, there)) is not None:
            print(missing, file=sys.stderr, flush=True)
        handle = control.start(high)
        reading = reader_cpus(there, high * cpus)
        try:
            _follow(_stream(job, setup, done, handle, cpus, reading), handle, stop, tally, config, lost)
        finally:
            remove_groups()
        stop.stats = _stats(handle)
        ray.kill(handle)
    return stop


def _stream(job: Job, setup: WorkerSetup, done: Any, handle: Any, cpus: int, reading: float) -> Iterator[Any]:
    """The dataset of acknowledgements, block by block."""
    import ray
    from ray.data import ActorPoolStrategy, TaskPoolStrategy

    from pipelines.placement import resources
    from pipelines.reading import block_rows, bundles, read_windows
    from pipelines.worker import GenerateWorker

    low, high = job.config.pool
    strategy = ActorPoolStrategy(
        min_size=low,
        max_size=high,
        max_concurrent_calls_per_actor=CALLS_PER_WORKER,
        max_tasks_in_flight_per_actor=QUEUED_PER_WORKER,
        enable_true_multi_threading=True,
    )
    windows = bundles(job.plan.windows)
    dataset = (
        ray.data.from_blocks(windows)
        .map_batches(
            read_windows,
            batch_size=None,
            batch_format="pyarrow",
            compute=TaskPoolStrategy(size=max(1, min(len(windows), READERS_PER_WORKER * high))),
            num_cpus=reading,
            fn_kwargs={
                "done": [ray.put(done)],
                "control": handle,
                "caps": job.caps,
                "rows": block_rows(job.plan.total, high * CALLS_PER_WORKER),
            },
        )
        .map_batches(
            GenerateWorker,
            batch_size=None,
            batch_format="pyarrow",
            compute=strategy,
            fn_constructor_args=(setup, handle),
            **resources(setup.backend, cpus),
        )
    )
    # Block by block: `iter_batches` would put three threads between, which look about many times a second.
    for bundle in dataset.iter_internal_ref_bundles():
        for entry in bundle.blocks:
            yield ray.get(entry.ref)


def _follow(
    stream: Iterator[Any], handle: Any, stop: Stop, tally: Tally, config: GenerateConfig, lost: threading.Event
) -> None:
    """Read acknowledgements until the stream ends or its time is up; feed progress, breaker, target and drain."""
    blocks: queue.Queue[Any] = queue.Queue(maxsize=64)
    threading.Thread(target=_pump, args=(stream, blocks), name="stream", daemon=True).start()
    breaker = Breaker(config.max_error_rate)
    last_look = 0.0
    with Display(tally) as display:
        while True:
            display.tick()
            now = time.monotonic()
            if lost.is_set():
                stop.because("lock lost", code=1)
            quiet = tally.ready is not None and stop.reason is None
            if now - last_look > (HEED_EVERY_S if quiet else LOOK_EVERY_S):
                last_look = now
                _look(handle, stop, tally, config)
            if stop.deadline is not None and (now > stop.deadline or stop.signals > 1):
                return
            try:
                block = blocks.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                continue
            if block is None:
                break
            if isinstance(block, BaseException):
                _heed(handle, stop, tally)
                stop.because("crash", code=1, error=OutputError(f"the run broke off: {_cause(block)}"))
                break
            _count(block, tally, breaker, stop, config)
        if breaker.at_end():
            stop.because("breaker", code=3, error=BreakerError(breaker.report()))
    # The last word of the workers: a fatal error may have ended the stream before it was looked at.
    _heed(handle, stop, tally)


def _pump(stream: Iterator[Any], blocks: queue.Queue[Any]) -> None:
    """Ray's iterator blocks; in a thread of its own the main thread stays free for signals and time."""
    try:
        for block in stream:
            blocks.put(block)
        blocks.put(None)
    except BaseException as error:  # noqa: BLE001 (whatever ended the stream is told to the main thread)
        blocks.put(error)


def _count(block: Any, tally: Tally, breaker: Breaker, stop: Stop, config: GenerateConfig) -> None:
    from pipelines.blocks import table_to_acks, unwrap

    for ack in (ack for table in unwrap(block) for ack in table_to_acks(table)):
        tally.add(ack)
        if ack.state in ("ok", "unresolved", "error") and breaker.add(ack.error_type, ack.error_message):
            stop.because("breaker", code=3, error=BreakerError(breaker.report()))
    if config.target_accepted is not None and tally.accepted >= config.target_accepted:
        stop.because("target")


def _look(handle: Any, stop: Stop, tally: Tally, config: GenerateConfig) -> None:
    """Tell the workers to stop once there is a reason, and hear theirs."""
    if stop.reason is not None:
        handle.stop.remote(stop.reason)
    if stop.reason is not None and stop.deadline is None:
        stop.deadline = time.monotonic() + config.drain_s
        if stop.reason.startswith("signal"):
            print(f"draining: rows in flight get up to {config.drain_s:g} s (again to stop at once)", file=sys.stderr)
    _heed(handle, stop, tally)


def _heed(handle: Any, stop: Stop, tally: Tally) -> None:
    """What the workers said; nothing new where the actor is busy or restarting, and the next look will tell."""
    from pipelines import control

    reason, fatal, ready = control.ask(handle.state.remote(), (None, None, 0))
    if ready:
        tally.start_clock()
    if fatal is not None:
        stop.because("fatal", code=2, error=UsageError(fatal))
    elif reason is not None and reason.startswith("failed: "):
        stop.because("failed", code=1, error=OutputError(reason.removeprefix("failed: ")))


def _cause(error: BaseException) -> str:
    """The last line of the innermost cause that says something: Ray wraps what happened in pages of its own."""
    inner: BaseException = error
    while inner.__cause__ is not None and str(inner.__cause__).strip():
        inner = inner.__cause__
    lines = [line for line in str(inner).strip().splitlines() if line.strip()]
    return f"{type(inner).__name__}: {lines[-1].strip() if lines else '(no message)'}"


def _stats(handle: Any) -> dict[str, Any]:
    from pipelines import control

    every: dict[str, dict[str, Any]] = control.ask(handle.all_stats.remote(), {})
    total: dict[str, Any] = {}
    for counters in every.values():
        for name, value in counters.items():
            if value is not None:
                total[name] = total.get(name, 0) + value
    return total


@contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """Ctrl-C and SIGTERM drain, and let a seal be finished; a second one stops at once."""

    def heard(number: int, frame: object) -> None:  # noqa: ARG001 (the signature of a handler)
        stop.signals += 1
        stop.because(f"signal {signal.Signals(number).name}", code=128 + number)
        if stop.is_sealing and stop.signals > 1:
            raise SystemExit(128 + number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
