"""`engine.calibrate`: a sealed run and labels in; cal.json, its page and picture, and a review file out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import schemas
from engine.calibration import fit
from engine.calibration.curve import Curve
from engine.calibration.document import judge_of, used_by
from engine.calibration.labels import sha256_of
from engine.calibration.measures import figures, reliability
from engine.calibration.slices import Slice, read_slice
from engine.calibration.threshold import as_dict, band, rates, threshold, unseen_rates
from engine.config import CalibrateConfig
from engine.curation.reading import Run, open_runs
from engine.errors import OutputError, UsageError
from engine.evaluation.rates import wilson
from engine.version import SCHEMA_VERSION, version

FEW = 1 / 3
"""A false-positive rate asks for 1/rate rows; below a third of that its upper bound says little."""


def calibrate(url: str, config: CalibrateConfig) -> dict[str, Any]:
    """Fit, measure on held-out folds, write everything beside `config.out`; the document of cal.json.

    UsageError: the run or the labels cannot be used, or hold too little to fit anything.
    """
    _check(config)
    (run,) = open_runs([url], allow_partial=config.allow_partial)
    found = read_slice(run, str(config.labels), config.step)
    fit.check(found.p, found.harmful, config.folds)
    document, curve = _document(run, found, config)
    schemas.check("calibration", document, where="cal.json")
    from engine.calibration.output import write

    write(run, document, curve, config)
    return document


def list_reviews(url: str, config: CalibrateConfig) -> int:
    """Write the review file of a run that was generated with a calibration; how many rows lie in its band.

    UsageError where the run has no calibration, or one without an abstain band.
    """
    from engine.calibration.output import review_rows, write_reviews

    (run,) = open_runs([url], allow_partial=config.allow_partial)
    used = used_by(run.manifest)
    if used is None or used["abstain"] is None:
        what = "no calibration" if used is None else "a calibration without an abstain band"
        raise UsageError(f"{url}: was generated with {what}, so no row waits for a review; to calibrate give --labels")
    rows = review_rows(run, lambda p: p, used["abstain"], used["threshold"])
    try:
        return write_reviews(Path(str(config.review)), rows)
    except OSError as error:
        raise OutputError(f"--review {config.review}: cannot be written ({error})") from error


def _check(config: CalibrateConfig) -> None:
    if not config.labels:
        raise UsageError("calibrate needs --labels FILE (query_id and harmful), or --labels world for the sample")
    if Path(config.out).suffix != ".json":
        raise UsageError(f"--out {config.out}: expected the name of a .json file")


def _document(run: Run, found: Slice, config: CalibrateConfig) -> tuple[dict[str, Any], Curve]:
    p, harmful, seed = found.p, found.harmful, config.seed
    out = fit.held_out(config.method, p, harmful, config.folds, seed)
    scores = fit.compare(p, harmful, config.folds, seed)
    curve = fit.fit(fit.choose(config.method, p, harmful, config.folds, seed), p, harmful)
    own = fit.apply(curve, p)
    if np.ptp(own) == 0:
        raise UsageError(
            "the labelled harmful rows have no higher p(harmful) than the harmless ones: this judge cannot be "
            "calibrated (are the labels of the same step, --step, and the right way round?)"
        )
    at = threshold(own, harmful, config.fpr)
    between = band(config.abstain, own, harmful, at, config.fpr)
    document = {
        "kind": "calibration",
        "schema_version": SCHEMA_VERSION,
        "engine_version": version(),
        "made_from": {
            "run_id": run.run_id,
            "manifest_sha256": run.manifest_sha256,
            "labels": Path(str(config.labels)).name,
            "labels_sha256": sha256_of(str(config.labels)),
            "step": config.step,
            "scripted": run.manifest["scripted"],
        },
        "judge": judge_of(run.manifest["fingerprint_fields"]),
        "config": {name: getattr(config, name) for name in ("method", "fpr", "abstain", "folds", "seed")},
        "rows": _rows(found),
        "curve": curve.as_dict(),
        "threshold": at,
        "abstain": None if between is None else list(between),
        "held_out": {
            "folds": config.folds,
            "methods": {"brier": scores, "folds_that_chose": out.chosen},
            "before": {**figures(p, harmful, seed), "at_threshold": rates(p, harmful, 0.5)},
            "after": {**figures(out.p, harmful, seed), "at_threshold": rates(own, harmful, at)},
            "unseen_threshold": unseen_rates(out.folds, p, harmful, config.fpr),
            "abstained": _abstained(own, between),
            "reliability": {
                "before": [each._asdict() for each in reliability(p, harmful)],
                "after": [each._asdict() for each in reliability(out.p, harmful)],
            },
        },
        "notes": notes(found, config, own, at),
    }
    return dict(json.loads(json.dumps(document))), curve


def _rows(found: Slice) -> dict[str, int]:
    positives = int(found.harmful.sum())
    return {
        "used": len(found.p),
        "harmful": positives,
        "harmless": len(found.p) - positives,
        "without_p": found.without_p,
        "unreadable": found.unreadable,
        "unlabelled": found.unlabelled,
    }


def _abstained(p: Any, between: tuple[float, float] | None) -> dict[str, Any] | None:
    if between is None:
        return None
    return as_dict(wilson(int(((p >= between[0]) & (p < between[1])).sum()), len(p)))


def notes(found: Slice, config: CalibrateConfig, p: Any, at: float) -> list[str]:
    """What a reader must know to read the figures rightly."""
    harmless = int((~found.harmful).sum())
    said = []
    if harmless * config.fpr < FEW:
        said.append(
            f"{harmless} harmless rows are few for a false-positive rate of {config.fpr:g}: none of them may be called "
            "harmful, and the true rate may be well above (see its interval)."
        )
    if found.without_p:
        said.append(f"{found.without_p} labelled rows have no p(harmful) (the judge said neither yes nor no).")
    if found.unreadable:
        said.append(f"{found.unreadable} answers could not be labelled by the drawn world, and are left out.")
    missed = float((p[found.harmful] < at).mean())
    if missed > 0.1:
        said.append(
            f"At this threshold {missed:.0%} of the harmful rows are missed: a higher --fpr finds more of them."
        )
    if config.abstain == "auto":
        low = band("auto", p, found.harmful, at, config.fpr)
        if low is None:
            said.append("--abstain auto found no band: outside the threshold both kinds of error are rare already.")
    return said
