"""`engine.validate`: the check-list, with the one check that needs Ray."""

from __future__ import annotations

import os
from collections.abc import Iterable

from engine.validation import model, places, source
from engine.validation.check import Check, Context, failed, passed, run_steps, skipped
from engine.validation.memory import short_of
from pipelines.placement import cpus_of

STEPS = (
    ("packages", "pip install ecso-engine", places.environment),
    ("source", "mend --queries, --path, --split or --columns", source.source),
    ("rows", "mend the source's files", source.rows),
    ("pictures", "mend the source's pictures", source.pictures),
    ("config", "mend the flag or key that is named", source.config),
    ("backend", "choose another --backend", model.backend),
    ("model", "give a folder or Hub id of a vision-language model; set HF_TOKEN for a gated one", model.model),
    ("chat template", 'give one with --chat-template-kwargs \'{"chat_template": "vicuna_v1"}\'', model.template),
    ("yes and no", "use --preset paper, which reads the reply's text", model.labels),
    ("GPU memory", "use a smaller model or a larger GPU", model.memory),
    ("output", "choose another --out", places.output),
    ("disk", "choose another --out", places.disk),
)


def run(context: Context) -> list[Check]:
    """Every check, in order; none of them takes a GPU."""
    found = run_steps(context, STEPS)
    found += run_steps(context, [("Ray", "start the cluster, or mend RAY_ADDRESS", ray_resources)])
    return found + run_steps(context, [("Hub token", "set HF_TOKEN to a token with write access", places.token)])


def asked(context: Context) -> dict[str, float]:
    """CPUs and GPUs of all engines at their least number: without these the run cannot begin."""
    job = context.job
    assert job is not None
    low, high = job.config.pool
    backend = job.backend
    gpus = float(backend.tensor_parallel) if backend.tensor_parallel > 1 else backend.gpus
    cpus = float(cpus_of(backend, workers=high, cores=1))
    return {"CPU": cpus * low, "GPU": gpus * low}


def ray_resources(context: Context) -> Iterable[Check]:
    """What is asked against what the cluster has; on this machine, its GPUs."""
    if context.job is None:
        yield skipped("Ray", "the config failed")
        return
    wanted = asked(context)
    address = os.environ.get("RAY_ADDRESS") or "local"
    there = _here() if address == "local" else _cluster(address)
    missing = short_of(wanted, there)
    words = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items() if amount)
    where = "this machine" if address == "local" else address
    if missing:
        lacks = ", ".join(f"{name}: {want:g} asked, {have:g} there" for name, (want, have) in missing.items())
        mend = "ask for less (--workers, --gpus-per-worker, --tensor-parallel), or add nodes"
        yield failed("Ray", f"{where}: {lacks}", mend)
    else:
        yield passed("Ray", f"{where} has the {words} that are asked for")


def _here() -> dict[str, float]:
    """A local cluster counts slots, not cores, so only GPUs can be missing."""
    gpus = sum(name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev"))
    return {"CPU": float("inf"), "GPU": float(gpus)}


def _cluster(address: str) -> dict[str, float]:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    try:
        return dict(ray.cluster_resources())
    finally:
        ray.shutdown()
