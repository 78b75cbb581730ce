"""The dataflow of `annotate`: windows of a sealed run -> judges -> parts -> one table a judge.

Ray Data hands windows (a file and a row range, no data) to the workers and brings counts back. Each worker reads its
window, judges all its rows at once within the backend's capacity, and writes the part itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from engine.admission import Admission, Claim
from engine.backends import create
from engine.breaker import Breaker
from engine.errors import BreakerError, EcsoError, EngineDeadError, OutputError, PromptError, RowError, UsageError
from engine.journal.lock import RunLock
from engine.journal.store import Store
from engine.judges import FILE_JUDGES, files, imported, make
from engine.judges.base import Judge, Judged
from engine.judges.files import Window
from engine.judges.pictures import RunPictures
from engine.judges.planning import AnnotateConfig, JudgeSetup, check, open_sealed, plan_judge, split_name
from engine.judges.report import Report
from engine.types import Query
from pipelines import cluster
from pipelines.logs import to_logs
from pipelines.placement import cpus_of, remove_groups, resources

CALLS_PER_WORKER = 4
"""Windows that one worker judges at once: while the last rows of one are waited for, the next one's are asked."""
ROWS_WITHOUT_MODEL = 64
CLOSE_S = 10.0
SHOW_EVERY_S = 5.0
T = TypeVar("T")


def annotate(config: AnnotateConfig) -> list[Report]:
    """Run every judge of the config over the run, one after the other; what is there already is not done again.

    Raises UsageError, OutputBusyError, OutputError or BreakerError; what was judged before that is kept.
    """
    check(config)
    manifest = open_sealed(config.run, allow_partial=config.allow_partial)
    named = [split_name(given) for given in config.judge]
    planned = [
        (name, path, plan_judge(config, name, manifest, path) if path is None or name in FILE_JUDGES else None)
        for name, path in named
    ]
    store = Store(config.run)
    reports = []
    with RunLock(store, if_running="fail"):
        for name, path, plan in planned:
            if plan is None:
                reports.append(_import(store, config, name, str(path), manifest))
            else:
                reports.append(_judge(store, config, *plan))
    return reports


def _import(store: Store, config: AnnotateConfig, name: str, path: str, manifest: dict[str, Any]) -> Report:
    key = imported.key_of(name, path, config.field)
    report = Report(name, key.version, key.field, key=key)
    known = files.run_ids(store, manifest)
    report.eligible = len(known)
    if config.force:
        files.remove(store, key)
    if files.files(store, key.stem):
        report.before = len(files.done(store, key).ids)
    else:
        try:
            report.judged, report.others = imported.bring_in(store, key, path, known)
        except BaseException:
            files.remove(store, key)  # half a file is none
            raise
    report.files = files.files(store, key.stem)
    return report


def _judge(store: Store, config: AnnotateConfig, judge: Judge, setup: JudgeSetup) -> Report:
    key = setup.key
    if config.force:
        files.remove(store, key)
    report = Report(key.judge, key.version, key.field, key=key)
    finished = files.done(store, key)
    windows, todo, report.eligible = files.plan(store, setup.manifest, key.field, finished)
    report.before = report.eligible - todo
    error = _run(config, judge, setup, windows, report) if windows else None
    files.gather(store, key)
    report.files = files.files(store, key.stem)
    if error is not None:
        raise error
    found = len(files.done(store, key).ids)
    report.judged = found - report.before
    if report.judged + report.failed < todo:
        raise OutputError(
            f"{config.run}: {key.judge} was to judge {todo} rows; {report.failed} failed, and the files hold "
            f"{report.judged} of the others"
        )
    return report


def _run(
    config: AnnotateConfig, judge: Judge, setup: JudgeSetup, windows: list[Window], report: Report
) -> Exception | None:
    """The windows through the workers; the error that ended it, if one did."""
    backend = judge.backend
    cpus = 1 if backend is None else cpus_of(backend, workers=config.workers, cores=cluster.cores())
    with cluster.joined(slots=config.workers * cpus + 2, logs=setup.logs):
        cluster.configure(workers=config.workers)
        import ray

        from pipelines import control

        handle = control.start(config.workers)
        breaker, shown = Breaker(config.max_error_rate), time.monotonic()
        told: list[str] = []
        try:
            for block in _stream(config, judge, setup, windows, handle, cpus):
                for text in block.column("counts").to_pylist():
                    told += _count(json.loads(text), report, breaker)
                if time.monotonic() - shown > SHOW_EVERY_S:
                    shown = time.monotonic()
                    _show(report)
            _show(report)
            return _end(ray.get(handle.state.remote()), breaker, told)
        except ray.exceptions.RayError as error:
            cause = OutputError(f"annotate broke off: {str(error).strip().splitlines()[-1]}")
            return _end(ray.get(handle.state.remote()), breaker, told) or cause
        finally:
            remove_groups()
            ray.kill(handle)


def _stream(
    config: AnnotateConfig, judge: Judge, setup: JudgeSetup, windows: list[Window], handle: Any, cpus: int
) -> Iterator[Any]:
    """The counts, window by window as they are done."""
    import pickle

    import pyarrow as pa
    import ray
    from ray.data import ActorPoolStrategy

    workers = max(1, min(config.workers, len(windows)))
    strategy = ActorPoolStrategy(
        size=workers,
        max_concurrent_calls_per_actor=CALLS_PER_WORKER,
        max_tasks_in_flight_per_actor=CALLS_PER_WORKER + 2,
        enable_true_multi_threading=True,
    )
    asked = {"num_cpus": cpus} if judge.backend is None else resources(judge.backend, cpus)
    dataset = ray.data.from_blocks([pa.table({"window": [pickle.dumps(window)]}) for window in windows]).map_batches(
        AnnotateWorker,
        batch_size=None,
        batch_format="pyarrow",
        compute=strategy,
        fn_constructor_args=(setup, config.max_error_rate, handle),
        **asked,
    )
    yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=4)


def _count(counts: dict[str, Any], report: Report, breaker: Breaker) -> list[str]:
    """One window's counts into the report; the worker's own reasons to stop, if it had any."""
    report.verdicts.update(counts["verdicts"])
    judged = sum(counts["verdicts"].values())
    report.judged += judged
    for _ in range(judged):
        breaker.add(None)
    for kind, message in counts["failures"]:
        report.failed += 1
        breaker.add(kind, message)
    return [counts["breaker"]] if counts["breaker"] else []


def _end(state: tuple[str | None, str | None, int], breaker: Breaker, told: list[str]) -> Exception | None:
    """Why it ended early, if it did: what every worker would meet, a failed write, or too many failed rows."""
    reason, fatal, _ = state
    if fatal is not None:
        return UsageError(fatal)
    if reason is not None and reason.startswith("failed: "):
        return OutputError(reason.removeprefix("failed: "))
    if told or breaker.at_end():
        return BreakerError(told[0] if told else breaker.report())
    return None


def _show(report: Report) -> None:
    todo = report.eligible - report.before
    print(f"{report.judge}: {report.judged:,} of {todo:,} rows judged", file=sys.stderr, flush=True)


class AnnotateWorker:
    """`__call__` takes windows and gives counts. Safe for concurrent calls."""

    def __init__(self, setup: JudgeSetup, max_error_rate: float, control: Any) -> None:
        self._setup = setup
        self._control = control
        self._store = Store(setup.out)
        # Read here and not sent: a worker that is started again sees what its dead self has written.
        self._finished = files.done(self._store, setup.key)
        self._breaker = Breaker(max_error_rate)
        self._tripped: str | None = None
        self._stopping = False
        to_logs(setup.logs, f"annotate-{os.getpid()}")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="judge", daemon=True).start()
        self._judge = make(setup.name, setup.options)
        self._pictures = RunPictures(self._store, setup.manifest)
        from pipelines.control import ask

        if ask(control.starting.remote(), None) is not None:
            self._stopping = True
            return
        try:
            self._start()
            control.stats.remote(uuid.uuid4().hex, {})  # ready
        except UsageError as error:
            self._give_up(error)

    def _start(self) -> None:
        """Load the model, where the judge asks one."""
        make_model = self._judge.create or create
        self._backend = None if self._judge.backend is None else make_model(self._judge.backend)
        if self._backend is not None:
            self._wait(self._backend.start())
        self._admission = Admission(ROWS_WITHOUT_MODEL if self._backend is None else self._backend.capacity)
        self._ask = self._judge.open(self._backend)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _give_up(self, error: UsageError) -> None:
        """What no other worker could do better either: the driver hears of it, and nothing more is judged."""
        import ray

        ray.get(self._control.fatal.remote(str(error)))
        self._stopping = True

    def __call__(self, batch: Any) -> Iterator[Any]:
        import pickle

        import pyarrow as pa

        for pickled in batch.column("window").to_pylist():
            yield pa.table({"counts": [json.dumps(self._window(pickle.loads(pickled)))]})

    def _window(self, window: Window) -> dict[str, Any]:
        """Judge one window and write its part; its counts."""
        counts: dict[str, Any] = {"verdicts": {}, "failures": [], "breaker": None}
        if self._stopping or self._is_stopped():
            return counts
        try:
            rows = self._rows(window)
            found = self._wait(self._judge_rows(rows))
            self._write(window, rows, found, counts)
        except UsageError as error:
            self._give_up(error)
        except EngineDeadError as error:
            # As in generate: only the end of the process makes Ray start another actor, which gets the window again.
            print(f"engine dead: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        except OutputError as error:
            self._stopping = True
            self._control.stop.remote(f"failed: {error}")
        counts["breaker"] = self._tripped
        return counts

    def _is_stopped(self) -> bool:
        import ray

        return ray.get(self._control.state.remote())[0] is not None

    def _rows(self, window: Window) -> list[tuple[Query, str]]:
        """The rows to judge, with their pictures where the judge shows them."""
        rows = files.read_window(self._store, window, self._setup.key.field, self._finished)
        if not self._judge.shows_pictures:
            return [(query, text) for query, text, _ in rows]
        pictures = self._pictures.get([sha for _, _, shown in rows for sha in shown])
        return [(replace(query, pictures=tuple(pictures[sha] for sha in shown)), text) for query, text, shown in rows]

    async def _judge_rows(self, rows: list[tuple[Query, str]]) -> list[Judged | RowError | None]:
        return list(await asyncio.gather(*(self._one(query, text) for query, text in rows)))

    async def _one(self, query: Query, text: str) -> Judged | RowError | None:
        """What the judge says; the error of a request that failed; None for a row that is left for the next call."""
        cost = Claim(1) if self._backend is None else self._backend.cost(query)
        async with self._admission.hold(cost):
            if self._stopping:
                return None
            try:
                found: Judged | RowError = await self._ask(query, text)
            except PromptError as error:
                found = Judged("unknown", text=str(error))  # it would not fit the next time either
            except RowError as error:
                found = error
            except EcsoError:
                raise
            except Exception as error:  # noqa: BLE001 (a judge may come from outside: its bug is this row's error)
                found = RowError(f"{type(error).__name__}: {error}")
        failed = isinstance(found, RowError)
        if self._breaker.add(type(found).__name__ if failed else None, str(found) if failed else None):
            self._stopping, self._tripped = True, self._tripped or self._breaker.report()
            self._control.stop.remote("breaker")
        return found

    def _write(
        self,
        window: Window,
        rows: list[tuple[Query, str]],
        found: list[Judged | RowError | None],
        counts: dict[str, Any],
    ) -> None:
        made: list[dict[str, Any]] = []
        verdicts: Counter[str] = Counter()
        for (query, _), judged in zip(rows, found, strict=True):
            if isinstance(judged, Judged):
                verdicts[judged.verdict or "none"] += 1
                values = {"verdict": judged.verdict, "p": judged.p, "score": judged.score, "text": judged.text}
                made.append({"query_id": query.query_id, **values, "embedding": judged.embedding})
            elif judged is not None:
                counts["failures"].append((type(judged).__name__, str(judged)))
        if made:
            files.write_part(self._store, self._setup.key, window, made)
        counts["verdicts"] = dict(verdicts)

    def close(self) -> None:
        """Stop the model's processes (called when Ray takes the actor down)."""
        backend = getattr(self, "_backend", None)
        if backend is not None:
            self._backend = None
            # When the interpreter ends, the loop's thread may stand still already: never wait for it for ever.
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(backend.close(), self._loop).result(timeout=CLOSE_S)

    def __del__(self) -> None:
        self.close()
