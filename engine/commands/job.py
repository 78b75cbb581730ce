"""`python -m engine.job --target T --config FILE`: the run of a configuration as a cluster job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import GenerateConfig, JobConfig
from engine.config_file import merge, read_document
from engine.errors import OutputError

WORDS = """The run of a configuration as a job: a manifest, a script or a Dockerfile, printed or written with --out.

  python -m engine.job --target kuberay --config run.yaml --image REGISTRY/ecso:1 --out job.yaml
  python -m engine.job --target cronjob --config run.yaml --image REGISTRY/ecso:1 --schedule '0 3 * * *'
  python -m engine.job --target slurm --config run.yaml --out job.sbatch
  python -m engine.job --target docker > Dockerfile
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage."""
    arguments = vars(_flags.parser("job", WORDS).parse_args(argv))
    return guarded(lambda: _job(arguments))


def _job(arguments: dict[str, Any]) -> int:
    from engine.jobs.spec import spec_of
    from pipelines.jobs.render import render

    file = arguments.pop("config", None)
    config = JobConfig(**merge("job", arguments, file))
    sections = read_document(file) if file else {}
    text = render(spec_of(config, GenerateConfig(**(sections.get("generate") or {})), sections))
    if config.out is None:
        print(text, end="")
        return 0
    try:
        Path(config.out).write_text(text, "utf-8")
    except OSError as error:
        raise OutputError(f"--out {config.out}: cannot be written ({error.strerror})") from error
    print(config.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
