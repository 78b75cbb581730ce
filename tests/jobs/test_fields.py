"""Every field of the Kubernetes manifests, by name and type, against KubeRay's CRD as read (kuberay_v1.7.json)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.jobs.render import render
from tests.jobs.test_templates import MANIFESTS, documents, spec

READ: dict[str, Any] = json.loads((Path(__file__).parent / "kuberay_v1.7.json").read_text())
TYPES: dict[str, dict[str, str]] = READ["types"]


def problems(value: Any, kind: str, where: str) -> Iterator[str]:
    """What is wrong with `value` as a `kind` of the table."""
    plain = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}
    if kind in plain:
        if not isinstance(value, plain[kind]) or (isinstance(value, bool) and kind != "boolean"):
            yield f"{where}: {value!r} is no {kind}"
    elif kind.startswith("enum:"):
        if value not in kind.removeprefix("enum:").split(","):
            yield f"{where}: {value!r} is none of {kind}"
    elif kind == "map":
        if not isinstance(value, dict) or not all(isinstance(each, str) for pair in value.items() for each in pair):
            yield f"{where}: not a map of strings: {value!r}"
    elif kind.startswith("["):
        if not isinstance(value, list):
            yield f"{where}: no list"
            return
        for number, each in enumerate(value):
            yield from problems(each, kind[1:-1], f"{where}[{number}]")
    else:
        yield from object_problems(value, kind, where)


def object_problems(value: Any, kind: str, where: str) -> Iterator[str]:
    rules = {name.rstrip("!"): each for name, each in TYPES[kind].items()}
    needed = {name.rstrip("!") for name in TYPES[kind] if name.endswith("!")}
    for name in needed - set(value):
        yield f"{where}: {name} is missing"
    for name, each in value.items():
        if name not in rules:
            yield f"{where}: {kind} has no field {name}"
        else:
            yield from problems(each, rules[name], f"{where}.{name}")


def test_the_checker_finds_what_is_wrong() -> None:
    good = documents("kuberay")[1]
    assert not list(problems(good, "RayJob", "job"))
    good["spec"]["backoffLimit"] = "2"
    good["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] = 4
    good["spec"]["concurrencyPolicy"] = "Forbid"
    del good["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["groupName"]
    del good["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["minReplicas"]
    assert len(list(problems(good, "RayJob", "job"))) == 5


def test_the_table_names_what_was_read() -> None:
    """Every text of KubeRay's source with its file and its whole commit."""
    for each in [*READ["read"], READ["later"]]:
        assert "address" in each or (each["file"] and re.fullmatch("[0-9a-f]{40}", each["commit"])), each


def test_a_schedule_holds_the_spec_itself() -> None:
    """v1.7's jobTemplate is a RayJobSpec; in later source it is below `spec`, which the manifest's head says."""
    body = documents("raycronjob")[1]["spec"]
    assert TYPES["RayCronJobSpec"]["jobTemplate!"] == "RayJobSpec"
    assert body["jobTemplate"]["entrypoint"].startswith("python -m engine.generate")
    assert "later source puts it below jobTemplate.spec" in render(spec("raycronjob"))
    assert "timeZone came with KubeRay v1.7" in render(spec("raycronjob"))
    assert "timeZone" not in render(spec("raycronjob", time_zone=None))


@pytest.mark.parametrize("target", MANIFESTS)
@pytest.mark.parametrize("claim", [None, "shared-claim"])
def test_fields_and_types(target: str, claim: str | None) -> None:
    found = documents(target, claim=claim)
    assert not [line for each in found for line in problems(each, each["kind"], each["kind"])]
    for each in found:
        for text in (each.get("data") or {}).values():
            for inner in yaml.safe_load_all(text):
                if isinstance(inner, dict) and "kind" in inner:
                    assert not list(problems(inner, inner["kind"], inner["kind"]))
