"""Kubernetes manifests as plain dicts: field names and types are KubeRay's (ray.io/v1) and Kubernetes' own."""

from __future__ import annotations

import shlex
from typing import Any

from engine.jobs.spec import CONFIG_NAME, JobSpec
from pipelines.jobs.pins import KUBECTL_IMAGE, RAY

CONFIG_AT = "/etc/ecso"
Manifest = dict[str, Any]


def kuberay(spec: JobSpec, config: str) -> list[Manifest]:
    """A RayJob and the ConfigMap that it reads."""
    return [config_map(spec, {CONFIG_NAME: config}), ray_job(spec)]


def raycronjob(spec: JobSpec, config: str) -> list[Manifest]:
    """A RayCronJob: alpha, off by default, and without a concurrencyPolicy."""
    body: Manifest = {"schedule": spec.job.schedule, "suspend": False, "jobTemplate": ray_job_spec(spec)}
    if spec.job.time_zone:
        body["timeZone"] = spec.job.time_zone
    made = {"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": metadata(spec, spec.job.name), "spec": body}
    return [config_map(spec, {CONFIG_NAME: config}), made]


def cronjob(spec: JobSpec, config: str) -> list[Manifest]:
    """A CronJob that creates a RayJob, with the rights for exactly that."""
    from pipelines.jobs.render import to_yaml

    name = f"{spec.job.name}-creator"
    template = ray_job(spec)
    template["metadata"] = {**metadata(spec, spec.job.name), "generateName": f"{spec.job.name}-"}
    del template["metadata"]["name"]
    files = {CONFIG_NAME: config, "rayjob.yaml": to_yaml([template])}
    rules = [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create"]}]
    subject = {"kind": "ServiceAccount", "name": name, "namespace": spec.job.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        config_map(spec, files),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(spec, name)},
        {"apiVersion": rbac, "kind": "Role", "metadata": metadata(spec, name), "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "RoleBinding",
            "metadata": metadata(spec, name),
            "subjects": [subject],
            "roleRef": role,
        },
        _cron(spec, name),
    ]


def _cron(spec: JobSpec, name: str) -> Manifest:
    container = {
        "name": "create",
        "image": KUBECTL_IMAGE,
        # The image has no shell: kubectl itself is its entry point.
        "args": ["create", "-n", spec.job.namespace, "-f", f"{CONFIG_AT}/rayjob.yaml"],
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_AT, "readOnly": True}],
    }
    pod = {
        "serviceAccountName": name,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": config_name(spec)}}],
    }
    body: Manifest = {
        "schedule": spec.job.schedule,
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": {"backoffLimit": 1, "template": {"spec": pod}}},
    }
    if spec.job.time_zone:
        body["timeZone"] = spec.job.time_zone
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata(spec, spec.job.name), "spec": body}


def config_name(spec: JobSpec) -> str:
    return f"{spec.job.name}-config"


def config_map(spec: JobSpec, files: dict[str, str]) -> Manifest:
    """The configuration, as files."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(spec, config_name(spec)), "data": files}


def metadata(spec: JobSpec, name: str) -> Manifest:
    return {"name": name, "namespace": spec.job.namespace, "labels": {"app.kubernetes.io/name": "ecso-engine"}}


def ray_job(spec: JobSpec) -> Manifest:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata(spec, spec.job.name),
        "spec": ray_job_spec(spec),
    }


def ray_job_spec(spec: JobSpec) -> Manifest:
    """No jobId: KubeRay makes a new one for every try, since Ray takes none twice."""
    entry = shlex.join([*spec.command, "--config", f"{CONFIG_AT}/{CONFIG_NAME}"])
    return {
        "entrypoint": entry,
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "backoffLimit": spec.job.backoff_limit,
        "activeDeadlineSeconds": round(spec.job.hours * 3600),
        "rayClusterSpec": {
            "rayVersion": RAY,
            "headGroupSpec": {
                "serviceType": "ClusterIP",
                "rayStartParams": {"dashboard-host": "0.0.0.0"},
                "template": {"spec": _pod(spec, "ray-head", head=True)},
            },
            "workerGroupSpecs": [
                {
                    "groupName": "engines",
                    "replicas": spec.nodes,
                    "minReplicas": spec.nodes,
                    "maxReplicas": spec.nodes,
                    "rayStartParams": {},
                    "template": {"spec": _pod(spec, "ray-worker", head=False)},
                }
            ],
        },
    }


def _pod(spec: JobSpec, name: str, *, head: bool) -> Manifest:
    volumes: list[Manifest] = [
        {"name": "config", "configMap": {"name": config_name(spec)}},
        # Ray's object store and vLLM's processes share memory; Kubernetes gives 64 MiB by itself.
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": spec.job.shared_memory}},
    ]
    mounts: list[Manifest] = [
        {"name": "config", "mountPath": CONFIG_AT, "readOnly": True},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    if spec.job.claim:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": spec.job.claim}})
        mounts.append({"name": "data", "mountPath": spec.job.mount})
    container: Manifest = {
        "name": name,
        "image": spec.job.image,
        "env": environment(spec),
        "resources": _resources(spec, head=head),
        "volumeMounts": mounts,
    }
    if head:
        # Kubernetes signals Ray, not the run: the hook tells the run itself, and waits while it drains.
        command = ["python", "-m", "engine.jobs.stop", str(spec.stop_s - 10)]
        container["lifecycle"] = {"preStop": {"exec": {"command": command}}}
    return {
        "terminationGracePeriodSeconds": spec.stop_s,
        "containers": [container],
        "volumes": volumes,
    }


def _resources(spec: JobSpec, *, head: bool) -> Manifest:
    """Requests equal limits: a pod that may take more is the first to be ended when its node is short."""
    amounts: Manifest = {"cpu": str(spec.job.cpus_per_node), "memory": spec.job.memory}
    if head:
        amounts = {"cpu": "4", "memory": "16Gi"}
    elif spec.gpus_per_node:
        amounts["nvidia.com/gpu"] = str(spec.gpus_per_node)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def environment(spec: JobSpec) -> list[Manifest]:
    """Plain variables by value, secrets by name only."""
    plain: list[Manifest] = [{"name": name, "value": value} for name, value in variables(spec).items()]
    return plain + [
        {"name": each.variable, "valueFrom": {"secretKeyRef": {"name": each.name, "key": each.key}}}
        for each in spec.secrets
    ]


def variables(spec: JobSpec) -> dict[str, str]:
    """What every target sets."""
    return {
        # `ray job stop` kills three seconds after its SIGTERM unless told otherwise: no time to drain.
        "RAY_JOB_STOP_WAIT_TIME_S": str(spec.stop_s),
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
