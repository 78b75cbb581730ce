"""`python -m engine.train --data CURATED --model M --out DIR`: a curated set in, a model that has learned it out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import TrainConfig
from engine.config_file import merge

EXAMPLES = """A curated set in, a model that has learned it out.

  python -m engine.train --data runs/demo --preset tiny --out models/tuned              the embedded model, on CPU
  python -m engine.train --data RUN --model llava-hf/llava-1.5-7b-hf --out DIR          LLaVA-1.5's own LoRA recipe
  torchrun --nproc-per-node 8 -m engine.train --data RUN --model … --out DIR            the same on 8 GPUs
  python -m engine.train --data RUN --method dpo --model … --out DIR                    preference pairs
  python -m engine.train --data RUN --model … --export llava --out DIR                  for another trainer
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 crash or failed write, 2 usage or data, 4 busy, 130 Ctrl-C (go on with --resume)."""
    arguments = vars(_flags.parser("train", EXAMPLES).parse_args(argv))
    return guarded(lambda: _train(arguments))


def _train(arguments: dict[str, Any]) -> int:
    file = arguments.pop("config", None)
    config = TrainConfig(**merge("train", arguments, file))
    from engine.training.train import run

    document = run(config)
    if document:  # ranks other than the first write nothing
        print("\n".join(_words(document, str(config.out))))
    return 0


def _words(document: dict[str, Any], out: str) -> list[str]:
    if document["kind"] == "export":
        return [*document["lines"], f"in {out}"]
    data, loss = document["data"], document["loss"]
    lines = [
        f"{document['method']} · {document['output']} · {data['rows']:,} rows, {data['with_pictures']:,} with pictures",
        f"{document['steps']:,} steps in {document['seconds']:,.0f} s · loss {loss['first']:.4f} → {loss['last']:.4f}",
    ]
    lines += [f"left out: {count:,} {reason}" for reason, count in data["left_out"].items()]
    lines += [f"  {name}" for name in data["named"]]
    return [*lines, f"in {out}"]


if __name__ == "__main__":
    sys.exit(main())
