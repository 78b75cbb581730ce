"""What a job asks of its cluster, from the sections `generate` and `job`. Pure: nothing is looked up or started."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.config import GenerateConfig, JobConfig
from engine.errors import UsageError

TARGETS = ("ray", "kuberay", "raycronjob", "cronjob", "slurm", "hf", "docker")
SCHEDULED = ("raycronjob", "cronjob")
CONTAINERS = ("kuberay", "raycronjob", "cronjob", "hf")
"""Targets whose local files are gone when the job ends."""
AFTER_DRAIN_S = 30
"""Seconds for sealing and closing, after rows in flight were given `drain_s`."""
CRON = re.compile(r"^(@(annually|yearly|monthly|weekly|daily|hourly)|(\S+\s+){4}\S+)$")
NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$")
VARIABLE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
CONFIG_NAME = "ecso.yaml"


@dataclass(frozen=True, slots=True)
class Secret:
    """A key of a Secret that becomes an environment variable. Never a value."""

    variable: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Everything a template says."""

    job: JobConfig
    sections: Mapping[str, Any]
    """The configuration that travels with the job: the file's, without `job`."""
    command: tuple[str, ...]
    stop_s: int
    """Seconds between the signal and the kill."""
    nodes: int
    gpus_per_node: int
    gpus: int
    """GPUs that all engines together ask for."""
    secrets: tuple[Secret, ...]

    @property
    def target(self) -> str:
        return str(self.job.target)


def spec_of(job: JobConfig, generate: GenerateConfig, sections: Mapping[str, Any]) -> JobSpec:
    """Check that the run can work as this job, and work out its resources. UsageError names what is wrong."""
    if job.target not in TARGETS:
        raise UsageError(f"--target {job.target}: choose one of {', '.join(TARGETS)}")
    _check_names(job)
    _check_schedule(job, generate)
    if job.target != "docker":
        _check_places(job, generate)
    gpus = gpus_of(generate)
    per_node = job.gpus_per_node if gpus else 0
    if gpus and generate.tensor_parallel > per_node:
        raise UsageError(
            f"--tensor-parallel {generate.tensor_parallel} with {per_node} GPUs a node: one model stays on one node; "
            "raise job.gpus_per_node"
        )
    nodes = job.nodes or (max(1, math.ceil(gpus / per_node)) if gpus else 1)
    if nodes * per_node < gpus:
        raise UsageError(f"{gpus} GPUs are asked for, {nodes} nodes of {per_node} have {nodes * per_node}")
    if job.target == "hf" and gpus > gpus_of_flavor(job.flavor):
        raise UsageError(
            f"--target hf runs on one machine: {gpus} GPUs are asked for, --flavor {job.flavor} has "
            f"{gpus_of_flavor(job.flavor)}"
        )
    return JobSpec(
        job=job,
        sections={name: value for name, value in sections.items() if name != "job"},
        command=("python", "-m", "engine.generate", "--if-running", "skip"),
        stop_s=math.ceil(generate.drain_s) + AFTER_DRAIN_S,
        nodes=nodes,
        gpus_per_node=per_node,
        gpus=gpus,
        secrets=_secrets(job, generate),
    )


def gpus_of(generate: GenerateConfig) -> int:
    """GPUs of all engines together; a cluster is expected to have them, whatever this machine has."""
    if generate.backend in ("scripted", "openai"):
        return 0
    each = 1.0 if generate.gpus_per_worker is None else generate.gpus_per_worker
    whole = generate.tensor_parallel if generate.tensor_parallel > 1 else each
    return math.ceil(whole * generate.pool[1]) if each else 0


def gpus_of_flavor(flavor: str) -> int:
    """h200x4 -> 4, a100-large -> 1, cpu-basic -> 0."""
    if flavor.startswith("cpu"):
        return 0
    number = re.search(r"x([0-9]+)$", flavor)
    return int(number[1]) if number else 1


def _check_names(job: JobConfig) -> None:
    for what, value in (("name", job.name), ("namespace", job.namespace)):
        if not NAME.match(value):
            raise UsageError(f"job.{what} {value!r}: expected small letters, digits and dashes (at most 42)")
    if job.target in CONTAINERS and not job.image:
        raise UsageError(f"--target {job.target} needs --image (build one with --target docker)")


def _check_schedule(job: JobConfig, generate: GenerateConfig) -> None:
    if job.target in SCHEDULED and not job.schedule:
        raise UsageError(f"--target {job.target} needs --schedule, such as '0 3 * * *'")
    if job.schedule is None:
        return
    if not CRON.match(job.schedule.strip()):
        raise UsageError(
            f"--schedule {job.schedule!r}: expected five cron fields ('0 3 * * *'), or @daily and the like"
        )
    if job.target not in (*SCHEDULED, "hf", "slurm"):
        raise UsageError(f"--schedule: not with --target {job.target}; use raycronjob, cronjob, hf or slurm")
    if not generate.since_last:
        raise UsageError(
            "--schedule without generate.since_last: once the run is complete, every further start would find nothing "
            "to do. Set since_last: true, with out: ROOT"
        )


def _check_places(job: JobConfig, generate: GenerateConfig) -> None:
    """The journal must outlive the job, and every node must see the same files."""
    if not generate.out:
        raise UsageError("generate.out is missing: a job needs an output that outlives it (s3://… or a shared folder)")
    if "://" in generate.out:
        return _check_source(job, generate)
    if job.target in CONTAINERS and not (job.claim and _below(generate.out, job.mount)):
        raise UsageError(
            f"generate.out {generate.out}: would be lost with the container, and the journal with it. Use s3://…, or "
            f"name a volume with job.claim and put out below {job.mount}"
        )
    if not generate.out.startswith("/"):
        raise UsageError(f"generate.out {generate.out}: expected an absolute path that every node sees, or s3://…")
    return _check_source(job, generate)


def _check_source(job: JobConfig, generate: GenerateConfig) -> None:
    path = generate.path
    if path is None or job.target not in CONTAINERS or "://" in path or (job.claim and _below(path, job.mount)):
        return
    if path.startswith(("/", ".", "~")) or Path(path).exists():
        raise UsageError(
            f"generate.path {path}: not inside the container. Put it on the volume (job.claim, below {job.mount}), "
            "or use a Hub id"
        )


def _below(path: str, mount: str) -> bool:
    return path.rstrip("/") == mount.rstrip("/") or path.startswith(mount.rstrip("/") + "/")


def _secrets(job: JobConfig, generate: GenerateConfig) -> tuple[Secret, ...]:
    found = []
    for variable, where in job.secrets.items():
        name, _, key = str(where).partition("/")
        if (
            not VARIABLE.match(variable)
            or not re.match(r"^[a-z0-9][-a-z0-9.]*$", name)
            or (key and not re.match(r"^[-._a-zA-Z0-9]+$", key))
        ):
            raise UsageError(
                f"job.secrets {variable}: expected VARIABLE=SECRET/KEY, names of a Secret and its key (never a value)"
            )
        found.append(Secret(variable, name, key or variable))
    if generate.api_key_env and generate.api_key_env not in job.secrets:
        raise UsageError(
            f"generate.api_key_env names {generate.api_key_env}; say which secret holds it: "
            f"--secrets {generate.api_key_env}=SECRET/KEY"
        )
    return tuple(found)
