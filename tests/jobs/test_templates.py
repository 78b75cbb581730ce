"""Jobs as text: fields and types are KubeRay's, scripts parse, nothing holds a secret, everything can drain."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.commands.job import main
from engine.config import GenerateConfig, JobConfig
from engine.errors import UsageError
from engine.jobs.spec import TARGETS, JobSpec, gpus_of, spec_of
from engine.jobs.stop import runs, stop
from pipelines.jobs import pins
from pipelines.jobs.render import render

GENERATE: dict[str, Any] = {
    "queries": "vlguard",
    "path": "ORG/VLGuard",
    "model": "llava-hf/llava-1.5-7b-hf",
    "workers": "16",
    "since_last": True,
    "out": "s3://bucket/vlguard",
    "drain_s": 90,
    "api_key_env": "SERVER_KEY",
}
JOB: dict[str, Any] = {
    "image": "registry.example/ecso:1",
    "secrets": {"HF_TOKEN": "hf-token/token", "SERVER_KEY": "server/key"},
    "time_zone": "Europe/Zurich",
}
SCRIPTS, MANIFESTS = ("ray", "slurm", "hf"), ("kuberay", "raycronjob", "cronjob")
SCHEDULED = {"raycronjob": "0 3 * * *", "cronjob": "0 3 * * *"}


def spec(target: str, *, generate: dict[str, Any] | None = None, **job: Any) -> JobSpec:
    if target == "hf":
        job = {"flavor": "h200x8", **job}
        generate = {"workers": "8", **(generate or {})}
    given = {**GENERATE, **(generate or {})}
    config = JobConfig(**{**JOB, "target": target, "schedule": SCHEDULED.get(target), **job})
    return spec_of(config, GenerateConfig(**given), {"generate": given, "job": JOB})


def documents(target: str, **job: Any) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(render(spec(target, **job))))


# --- manifests ------------------------------------------------------------------------------------------------------


def ray_job_of(target: str, **job: Any) -> dict[str, Any]:
    """The RayJobSpec inside any of the manifests."""
    found = documents(target, **job)
    if target == "kuberay":
        return dict(found[1]["spec"])
    if target == "raycronjob":
        return dict(found[1]["spec"]["jobTemplate"])
    return dict(yaml.safe_load(found[0]["data"]["rayjob.yaml"])["spec"])


@pytest.mark.parametrize("target", MANIFESTS)
def test_a_pod_waits_until_the_run_has_drained(target: str) -> None:
    cluster = ray_job_of(target)["rayClusterSpec"]
    pods = [cluster["headGroupSpec"]["template"]["spec"], cluster["workerGroupSpecs"][0]["template"]["spec"]]
    for pod in pods:
        assert pod["terminationGracePeriodSeconds"] == 120  # drain_s + 30
        variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert variables["RAY_JOB_STOP_WAIT_TIME_S"] == "120"
    hook = pods[0]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert hook == ["python", "-m", "engine.jobs.stop", "110"]


def test_resources_follow_the_run() -> None:
    group = ray_job_of("kuberay")["rayClusterSpec"]["workerGroupSpecs"][0]
    assert group["replicas"] == 2  # 16 engines on nodes of 8 GPUs
    assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert gpus_of(GenerateConfig(workers="2:4", tensor_parallel=4)) == 16
    assert gpus_of(GenerateConfig(workers="4", gpus_per_worker=0.5)) == 2
    assert gpus_of(GenerateConfig(workers="4", backend="openai")) == 0
    scripted = spec("kuberay", generate={"backend": "scripted"})
    assert (scripted.nodes, scripted.gpus_per_node) == (1, 0)


def test_the_cron_job_may_only_create_ray_jobs() -> None:
    by_kind = {each["kind"]: each for each in documents("cronjob")}
    assert by_kind["Role"]["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create"]}]
    pod = by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    name = by_kind["ServiceAccount"]["metadata"]["name"]
    assert pod["serviceAccountName"] == by_kind["RoleBinding"]["subjects"][0]["name"] == name
    assert by_kind["RoleBinding"]["roleRef"]["name"] == by_kind["Role"]["metadata"]["name"]
    inner = yaml.safe_load(by_kind["ConfigMap"]["data"]["rayjob.yaml"])
    assert inner["metadata"]["generateName"] == "ecso-"
    assert "name" not in inner["metadata"]


def test_what_is_said_in_the_head() -> None:
    assert "ALPHA and OFF by default" in render(spec("raycronjob"))
    assert "no concurrencyPolicy" in render(spec("raycronjob"))
    assert "holds for the pod that creates" in render(spec("cronjob"))
    for target in MANIFESTS:
        assert "every retry builds a NEW cluster" in render(spec(target))
        assert "jobId" not in ray_job_of(target)  # Ray takes no submission id twice


# --- every target --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [each for each in TARGETS if each != "docker"])
def test_every_job_skips_resumes_and_names_its_secrets(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_notToBeSeenAnywhere")
    text = render(spec(target))
    assert "--if-running skip" in text
    assert "RAY_JOB_STOP_WAIT_TIME_S" in text
    assert "120" in text
    assert "HF_TOKEN" in text
    assert "hf_notToBeSeenAnywhere" not in text
    assert "since_last: true" in text
    assert "image: registry.example" in text or target in SCRIPTS
    assert "secrets:" not in text  # the section job stays here


@pytest.mark.parametrize("target", SCRIPTS)
@pytest.mark.parametrize("schedule", [None, "0 3 * * *"])
def test_scripts_parse(target: str, schedule: str | None, tmp_path: Path) -> None:
    if target == "ray" and schedule:
        return
    nasty = {"columns": {"text": 'it\'s $HOME `x` "y" \\ ECSO'}}
    file = tmp_path / "job.sh"
    file.write_text(render(spec(target, schedule=schedule, generate=nasty)))
    done = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # What the shell makes of the heredoc is the configuration, letter by letter.
    body = file.read_text().split("<<'ECSO_CONFIG_END'\n")[1].split("ECSO_CONFIG_END\n")[0]
    assert yaml.safe_load(body)["generate"]["columns"] == nasty["columns"]


def test_the_submit_script_submits(tmp_path: Path) -> None:
    """With a `ray` of our own that writes down what it was given."""
    script, tool = tmp_path / "job.sh", tmp_path / "ray"
    script.write_text(render(spec("ray")))
    tool.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/said\ncat "$6/ecso.yaml" > {tmp_path}/config\n')
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HF_TOKEN": "x", "SERVER_KEY": "x"}
    subprocess.run(["bash", str(script), "--no-wait"], check=True, env=environment)
    said = (tmp_path / "said").read_text().splitlines()
    assert said[:4] == ["job", "submit", "--address", "http://127.0.0.1:8265"]
    assert json.loads(said[said.index("--runtime-env-json") + 1])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == "120"
    assert said[-8:] == ["--no-wait", "--", "python", "-m", "engine.generate", "--if-running", "skip", "--config"] or (
        said[-9:-1] == ["--no-wait", "--", "python", "-m", "engine.generate", "--if-running", "skip", "--config"]
    )
    assert yaml.safe_load((tmp_path / "config").read_text()) == {"generate": GENERATE}
    del environment["HF_TOKEN"]
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "hf-token/token" in done.stderr


def test_slurm_hands_the_signal_to_the_run(tmp_path: Path) -> None:
    """The script itself, with stand-ins for srun, scontrol, ray and python: SIGTERM reaches the run, which drains."""
    text = render(spec("slurm"))
    assert "#SBATCH --signal=B:TERM@120" in text
    assert "#SBATCH --nodes=2" in text
    tools = {
        "scontrol": 'if [ "$1" = show ]; then echo n1; echo n2; else echo "$@" >> {d}/requeued; fi',
        "srun": "exec sleep 60",
        "ray": "exit 0",
        "python": "trap 'echo drained >> {d}/run; exit 143' TERM; echo started >> {d}/run; while :; do sleep 0.1; done",
    }
    for name, body in tools.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body.format(d=tmp_path)}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "job.sh").write_text(text)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "HF_TOKEN": "x",
        "SERVER_KEY": "x",
    }
    with subprocess.Popen(["bash", str(tmp_path / "job.sh")], env=environment) as batch:
        until = time.monotonic() + 20
        while not (tmp_path / "run").exists() and time.monotonic() < until:
            time.sleep(0.05)
        batch.send_signal(signal.SIGTERM)
        assert batch.wait(timeout=20) == 143
    assert (tmp_path / "run").read_text().split() == ["started", "drained"]
    assert (tmp_path / "requeued").read_text().strip() == "requeue 7"


@pytest.mark.parametrize("schedule", [None, "@daily"])
def test_hf_flags_are_those_of_the_client(schedule: str | None) -> None:
    """Every flag of the script stands in the help of the installed `hf`."""
    hf = shutil.which("hf", path=str(Path(sys.executable).parent))
    if hf is None:
        pytest.skip("no hf client here")
    text = render(spec("hf", schedule=schedule, claim="org/bucket"))
    call = text[text.index("\nhf jobs ") :]
    words = ["jobs", "scheduled", "run"] if schedule else ["jobs", "run"]
    assert " ".join(words) in call
    shown = subprocess.run([hf, *words, "--help"], capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    for flag in set(re.findall(r"(?<=\s)--[a-z-]+", call.split('"$@"')[0])):
        assert flag in shown.stdout, flag


def test_the_dockerfile_is_pinned() -> None:
    text = render(spec("docker"))
    wanted = re.findall(r'"([^"]+)==([0-9.]+)"', text)
    assert dict(wanted) == pins.PACKAGES
    assert len(wanted) == text.count("==")
    assert re.search(r"^FROM \S+:\d", text, re.MULTILINE)
    assert "TOKEN=" not in text
    assert "USER ray" in text


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "generate", "job", "message"),
    [
        ("kuberay", {"out": "runs/x"}, {}, "would be lost with the container"),
        ("kuberay", {"out": "/data/x"}, {}, "would be lost with the container"),
        ("kuberay", {"out": None}, {}, "generate.out is missing"),
        ("slurm", {"out": "runs/x"}, {}, "absolute path"),
        ("kuberay", {}, {"image": None}, "needs --image"),
        ("kuberay", {"path": "/home/me/data"}, {}, "not inside the container"),
        ("cronjob", {}, {"schedule": None}, "needs --schedule"),
        ("cronjob", {}, {"schedule": "sometimes"}, "five cron fields"),
        ("cronjob", {"since_last": False}, {}, "generate.since_last"),
        ("kuberay", {}, {"schedule": "0 3 * * *"}, "not with --target kuberay"),
        ("kuberay", {}, {"secrets": {"HF_TOKEN": "hf_SECRET VALUE"}}, "never a value"),
        ("kuberay", {}, {"secrets": {}}, "say which secret holds it"),
        ("kuberay", {"tensor_parallel": 16}, {}, "one model stays on one node"),
        ("kuberay", {}, {"nodes": 1}, "16 GPUs are asked for"),
        ("hf", {}, {"flavor": "a100-large"}, "runs on one machine"),
        ("kuberay", {}, {"name": "Not A Name"}, "small letters"),
        ("nowhere", {}, {}, "choose one of"),
    ],
)
def test_what_cannot_work_is_refused(target: str, generate: Any, job: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        spec(target, generate=generate, **job)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"generate": GENERATE, "job": {k: v for k, v in JOB.items() if v}}))
    assert main(["--target", "kuberay", "--config", str(config), "--claim", "c"]) == 0
    assert "claimName: c" in capsys.readouterr().out
    out = tmp_path / "job.yaml"
    arguments = ["--target", "cronjob", "--config", str(config), "--schedule", "0 3 * * *", "--out", str(out)]
    assert main(arguments) == 0
    assert "kind: CronJob" in out.read_text()
    assert main(["--target", "slurm"]) == 2
    assert "generate.out is missing" in capsys.readouterr().err


# --- the hook ------------------------------------------------------------------------------------------------------


def test_the_hook_finds_and_stops_runs(tmp_path: Path) -> None:
    """A process that looks like a run hears SIGTERM and is waited for; a shell that only mentions it is left alone."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/__init__.py").touch()
    (tmp_path / "engine/generate.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), open('drained', 'w').close(), sys.exit(143)))\n"
        "open('ready', 'w').close()\ntime.sleep(30)\n"
    )
    bystander = subprocess.Popen(["bash", "-c", "sleep 30 # python -m engine.generate"])
    run = subprocess.Popen([sys.executable, "-m", "engine.generate"], cwd=tmp_path)
    try:
        until = time.monotonic() + 15
        while not (tmp_path / "ready").exists() and time.monotonic() < until:
            time.sleep(0.05)
        found = set(runs())
        assert run.pid in found
        assert bystander.pid not in found
        threading.Thread(target=run.wait, daemon=True).start()  # a parent that reaps, as Ray is
        assert stop(10, [run.pid])  # never signal a run of somebody else on this machine
        assert (tmp_path / "drained").exists()
    finally:
        run.kill()
        bystander.kill()
        bystander.wait()
