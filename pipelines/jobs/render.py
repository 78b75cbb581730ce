"""`engine.job`: one target's job as text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.jobs.spec import CONFIG_NAME, JobSpec
from pipelines.jobs import kubernetes, pins

HERE = Path(__file__).parent
SCRIPTS = {"ray": "ray.sh.j2", "slurm": "slurm.sh.j2", "hf": "hf.sh.j2", "docker": "Dockerfile.j2"}
MANIFESTS = {"kuberay": kubernetes.kuberay, "raycronjob": kubernetes.raycronjob, "cronjob": kubernetes.cronjob}
END = "ECSO_CONFIG_END"


def render(spec: JobSpec) -> str:
    """The script, manifest or Dockerfile of `spec.target`."""
    config = to_yaml([dict(spec.sections)])
    if spec.target in MANIFESTS:
        return _template("header.yaml.j2", spec, config) + to_yaml(MANIFESTS[spec.target](spec, config))
    return _template(SCRIPTS[spec.target], spec, config)


def _template(name: str, spec: JobSpec, config: str) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["q"] = lambda value: shlex.quote(str(value))
    return environment.get_template(name).render(
        spec=spec,
        job=spec.job,
        config=config,
        config_name=CONFIG_NAME,
        end=END,
        command=shlex.join(spec.command),
        variables=kubernetes.variables(spec),
        pins=pins,
        hours=int(spec.job.hours),
        minutes=round(spec.job.hours % 1 * 60),
    )


def to_yaml(documents: Sequence[Any]) -> str:
    """Documents in the order given, keys in theirs, texts of several lines as blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Shared parts are written out: a reader should not have to follow anchors."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
