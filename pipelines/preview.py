"""`engine.preview`: a few rows of every kind through the real chain, then the estimate and the page."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any, NamedTuple

from engine.config import GenerateConfig, PreviewConfig
from engine.curation.reading import Run, open_runs, transcripts
from engine.errors import UsageError
from engine.journal.store import Store
from engine.planning import Job, plan_job
from engine.preview.choose import Chosen, choose
from engine.preview.document import PREVIEW, answered, document_of, pace_of
from engine.preview.estimate import Pace, estimate
from pipelines.run import run_job


class Previewed(NamedTuple):
    """Where the preview is, its document, and the whole transcripts in the order of the source."""

    out: str
    document: dict[str, Any]
    rows: list[dict[str, Any]]
    run: Run


def run(generate: GenerateConfig, config: PreviewConfig) -> Previewed:
    """Answer the rows, estimate, write preview.json and preview.html.

    UsageError: what the run itself would refuse, a price without GPUs, or no row that could be answered.
    """
    job = plan_job(replace(generate, out=None))
    out = os.path.abspath(config.out or os.path.join("previews", f"{generate.queries}-{job.fingerprint[:8]}"))
    engines = generate.pool[1]
    gpus = config.gpus if config.gpus is not None else _gpus(job) * engines
    if config.price_per_gpu_hour is not None and not gpus:
        raise UsageError("--price-per-gpu-hour: no engine here uses a GPU; say how many the job will have with --gpus")
    chosen = choose(job.plan, config.rows, config.pick_seed)
    if not chosen.plan.total:
        raise UsageError(f"--queries {generate.queries}: no readable row; engine.validate names the bad ones")
    sealed = _answer(job, chosen, config, out)
    rows = [row for batch in transcripts(sealed.store, sealed.manifest) for row in batch]
    seen = [answered(row) for row in rows]
    pace = pace_of(sealed.store.url, rows, sealed.manifest["started_at"], 1)
    if config.rows_per_s is not None:
        pace = Pace(config.rows_per_s, pace.in_flight, engines, pace.startup_s, given=True)
    if not pace.rows_per_s:
        first = next((row for row in rows if row["error_message"]), None)
        why = f": {first['error_type']}: {first['error_message']}" if first else ""
        raise UsageError(f"no row of the preview could be answered{why}")
    found = estimate(
        seen,
        chosen.sizes,
        job.plan.total,
        pace,
        engines=engines,
        gpus=gpus,
        price=config.price_per_gpu_hour,
        ecso=generate.strategy == "ecso",
    )
    document = document_of(sealed.manifest, chosen, seen, pace, found, config.price_per_gpu_hour)
    store = Store(out)
    store.write(PREVIEW, json.dumps(document, indent=1, ensure_ascii=False).encode())
    from engine.preview.page import NAME, render

    store.write(NAME, render(document, rows, sealed))
    return Previewed(out, document, rows, sealed)


def _gpus(job: Job) -> float:
    """GPUs of one engine."""
    return float(job.backend.tensor_parallel) if job.backend.tensor_parallel > 1 else job.backend.gpus


def _answer(job: Job, chosen: Chosen, config: PreviewConfig, out: str) -> Run:
    """The rows through one engine, as an ordinary run below OUT; the same choice again is there already."""
    folder = os.path.join(out, "runs", f"{config.rows}-{config.pick_seed}-of-{job.plan.total}")
    own = replace(
        job.config, out=folder, workers="1", no_curate=True, since_last=False, target_accepted=None, if_running="fail"
    )
    _, stop = run_job(replace(job, config=own, out=folder, plan=chosen.plan))
    if stop.error is not None:
        raise stop.error
    return open_runs([folder], allow_partial=stop.reason is None)[0]
