"""`python -m engine COMMAND` = `ecso COMMAND`: commands are found by name and imported only when asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import cast

COMMANDS = {
    "validate": "a check-list before a run, with a mend for each failure",
    "preview": "some rows through the real chain, step by step, and what the whole job will take",
    "generate": "pictures and queries in, safe answers and a data set out",
    "job": "the run as a cluster job: ray, KubeRay, CronJob, Slurm, hf jobs, Dockerfile",
    "annotate": "judges on a sealed run: second verdicts, refusals, embeddings",
    "calibrate": "how often the judge is right, from labelled rows: threshold and abstain band",
    "curate": "from transcripts to data sets, without a model",
    "evaluate": "benchmarks: answer, judge, score, compare",
    "loop": "generate, curate, train, evaluate, and again: rounds, arms and ablations on one page",
    "leakage": "hashes of a benchmark, for the leakage gate of curate",
    "train": "a curated set in, a model that has learned it out (LoRA, full, DPO, KTO)",
    "export": "a data set in the layout that a trainer reads",
    "publish": "a sealed run, or a trained model, on the Hub: private, all or nothing",
    "hydrate": "join a published set with the pictures that it only names",
    "list": "every strategy, judge, source, benchmark, filter and backend, and what it needs",
    "report": "one page about a curated data set, safe to open and to send on",
}
"""Command -> one line of help. A command is engine/commands/<name>.py with `main(argv) -> int`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code (0 done, 1 crash, 2 usage, 3 breaker, 4 busy, 130/143 drained)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m engine COMMAND [--help]\n")
        for name, words in COMMANDS.items():
            print(f"  {name:<10} {words}")
        return 0
    name, *rest = arguments
    if name == "--version":
        from engine.version import version

        print(version())
        return 0
    if not name.isidentifier() or find_spec(f"engine.commands.{name}") is None:
        print(f"ecso: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return cast(int, import_module(f"engine.commands.{name}").main(rest))


if __name__ == "__main__":
    sys.exit(main())
