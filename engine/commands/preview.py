"""`python -m engine.preview -n 16 [generate's flags]`: some rows through the real chain, and an estimate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import GenerateConfig, PreviewConfig
from engine.config_file import merge

WORDS = """Some rows of every kind through the real chain, step by step, and an estimate for the whole job.

  python -m engine.preview -n 16 --queries vlguard --path DIR --model M --price-per-gpu-hour 2.50
  python -m engine.preview --config run.yaml
  python -m engine.preview --compare RUN --out PREVIEW           estimate against actual
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: as generate; 2 where nothing could be answered or compared."""
    parser = _flags.parser("preview", WORDS)
    parser.add_argument("-n", dest="rows", type=int, metavar="N", help="the same as --rows")
    parser.add_argument("--compare", metavar="RUN", help="a sealed run of the job that was previewed")
    parser.add_argument("--json", action="store_true", help="print preview.json instead of tables")
    _flags.add_keys(parser, "generate", leave_out=_flags.keys("preview"))
    return guarded(lambda: _preview(vars(parser.parse_args(argv))))


def _preview(arguments: dict[str, Any]) -> int:
    file, run = arguments.pop("config", None), arguments.pop("compare", None)
    as_json = arguments.pop("json", False)
    own = _flags.keys("preview")
    mine = {key: value for key, value in arguments.items() if key in own}
    config = PreviewConfig(**merge("preview", mine, file))
    generate = GenerateConfig(**merge("generate", {k: v for k, v in arguments.items() if k not in own}, file))
    if run is not None:
        return _compare(run, config, generate)
    from pipelines.preview import run as preview

    made = preview(generate, config)
    from rich.console import Console

    from engine.preview import show

    console = Console()
    if as_json:
        import json

        print(json.dumps(made.document, indent=1, ensure_ascii=False))
        return 0
    show.rows(console, made.rows, opened=config.open)
    show.estimate(console, made.document)
    console.print(f"in {made.out}: preview.html, preview.json", highlight=False, soft_wrap=True)
    return 0


def _compare(run: str, config: PreviewConfig, generate: GenerateConfig) -> int:
    from rich.console import Console

    from engine.preview.compare import compare
    from engine.preview.document import read_preview
    from engine.preview.show import comparison

    out = config.out
    if out is None:
        import os

        from engine.journal.manifest import read_manifest

        manifest = read_manifest(run) or {"fingerprint": "", "config": {"queries": generate.queries}}
        out = os.path.join("previews", f"{manifest['config'].get('queries')}-{manifest['fingerprint'][:8]}")
    comparison(Console(), compare(read_preview(out), run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
