"""`python -m engine.validate [generate's flags]`: a check-list before a run, with a mend for each failure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import GenerateConfig, PublishConfig, ValidateConfig
from engine.config_file import merge, read_document

WORDS = """Config, source, model files, tokens, output, cluster and Hub token, without a model loaded or a GPU taken.

  python -m engine.validate --config run.yaml
  python -m engine.validate --queries vlguard --path DIR --model M --gpu-memory 80
"""
SIGNS = {"pass": "[green]✔[/]", "warn": "[yellow]![/]", "fail": "[red]✘[/]", "skip": "[dim]–[/]"}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 nothing failed, 2 something did."""
    parser = _flags.parser("validate", WORDS)
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    _flags.add_keys(parser, "generate")
    return guarded(lambda: _validate(vars(parser.parse_args(argv))))


def _validate(arguments: dict[str, Any]) -> int:
    file, as_json = arguments.pop("config", None), arguments.pop("json", False)
    own = _flags.keys("validate")
    mine = {key: value for key, value in arguments.items() if key in own}
    generate = GenerateConfig(**merge("generate", {k: v for k, v in arguments.items() if k not in own}, file))
    publish = read_document(file).get("publish") if file else None
    from engine.validation.check import Context
    from pipelines.validation import run

    found = run(
        Context(
            generate, ValidateConfig(**merge("validate", mine, file)), PublishConfig(**publish) if publish else None
        )
    )
    failures = sum(each.state == "fail" for each in found)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False))
        return 2 if failures else 0
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    for each in found:
        console.print(f"{SIGNS[each.state]} {each.name:<14} {escape(each.found)}", highlight=False)
        if each.mend:
            console.print(f"  {'':<14} [bold]mend:[/] {escape(each.mend)}", highlight=False)
    console.print(
        f"{failures} of {len(found)} checks failed" if failures else f"ready: {len(found)} checks, none failed"
    )
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
