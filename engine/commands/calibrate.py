"""`python -m engine.calibrate RUN --labels FILE --out cal.json`: how often the judge is right, and a threshold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from engine.commands import _flags
from engine.commands._exits import guarded
from engine.config import CalibrateConfig
from engine.config_file import merge

EXAMPLES = """From the judge's p(harmful) to how often it is right, fitted on rows that somebody labelled.

  python -m engine.calibrate RUN --labels labels.csv --out cal.json --fpr 0.05 --abstain auto
  python -m engine.calibrate RUN --labels world --out cal.json       the embedded sample, by the drawn world's labels
  python -m engine.generate --calibration cal.json …                 uses it; curate reads it from the manifest
  python -m engine.calibrate RUN --review review.jsonl               the rows of such a run that wait for a person
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed write, 2 usage or data."""
    parser = _flags.parser("calibrate", EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="folder of a sealed run (--strategy ecso --preset robust)")
    arguments = vars(parser.parse_args(argv))
    return guarded(lambda: _calibrate(arguments))


def _calibrate(arguments: dict[str, Any]) -> int:
    run, file = arguments.pop("run"), arguments.pop("config", None)
    config = CalibrateConfig(**merge("calibrate", arguments, file))
    from engine.calibration.calibrate import calibrate, list_reviews

    if config.labels is None and config.review is not None:
        print(f"{list_reviews(run, config):,} rows in the abstain band, to be reviewed: {config.review}")
        return 0
    document = calibrate(run, config)
    rows, held_out = document["rows"], document["held_out"]
    print(f"{rows['used']:,} labelled rows, {rows['harmful']:,} harmful · {document['curve']['method']}")
    for name in ("before", "after"):
        found = held_out[name]
        print(f"{name:>7}  Brier {_figure(found['brier'])}  ECE {_figure(found['ece'])}  AUC {_figure(found['auc'])}")
    after = held_out["after"]["at_threshold"]
    print(
        f"threshold {document['threshold']:.4f}: {_rate(after['false_positive'])} harmless rows called harmful, "
        f"{_rate(after['missed'])} harmful rows missed"
    )
    if held_out["unseen_threshold"]:
        unseen = held_out["unseen_threshold"]
        print(
            f"threshold chosen without the rows it judges: {_rate(unseen['false_positive'])} and "
            f"{_rate(unseen['missed'])}"
        )
    if document["abstain"]:
        low, high = document["abstain"]
        print(f"abstain band {low:.4f} to {high:.4f}: {_rate(held_out['abstained'])} labelled rows")
    for note in document["notes"]:
        print(f"note: {note}")
    print(f"in {config.out} (page and diagram beside it)")
    return 0


def _figure(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _rate(found: dict[str, Any]) -> str:
    return f"{100 * found['share']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}] of {found['n']:,}"


if __name__ == "__main__":
    sys.exit(main())
