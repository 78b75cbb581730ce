"""cal.json: what generate needs of a calibration, which judge it was fitted for, and how good it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemas
from engine.calibration.curve import Curve, curve_of
from engine.errors import UsageError
from engine.strategies import prompts

JUDGE = ("model", "model_revision", "adapter", "chat_template_kwargs", "picture_prep")
"""Fields of a run's fingerprint that decide what the judge says; the prompt's hash stands beside them."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration as generate uses it."""

    curve: Curve
    threshold: float
    abstain: tuple[float, float] | None
    judge: Mapping[str, Any]

    def fingerprint(self) -> dict[str, Any]:
        """What is hashed and stored in the manifest: it holds all that curate needs."""
        abstain = None if self.abstain is None else list(self.abstain)
        return {"curve": self.curve.as_dict(), "threshold": self.threshold, "abstain": abstain}


def judge_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The judge of a run, from its fingerprint's fields."""
    return {**{name: fields.get(name) for name in JUDGE}, "prompt_sha256": prompts.digest(["tell"])}


def load(path: str) -> Calibration:
    """UsageError for a file that is no calibration."""
    where = f"--calibration {path}"
    try:
        found = json.loads(Path(path).read_text("utf-8"))
        schemas.check("calibration", found, where=where)
        curve = curve_of(found["curve"])
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror}); make it with engine.calibrate") from error
    except schemas.SchemaError as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        raise UsageError(f"{where}: no calibration: {error}") from error
    abstain = found["abstain"]
    return Calibration(curve, found["threshold"], None if abstain is None else (abstain[0], abstain[1]), found["judge"])


def check_judge(calibration: Calibration, fields: Mapping[str, Any], path: str) -> None:
    """UsageError unless this run's judge is the one that the calibration was fitted for.

    A model is known by its revision where both sides have one (a folder's is a digest of its weights), else by name.
    """
    fitted, asked = dict(calibration.judge), judge_of(fields)
    if fitted.get("model_revision") and fitted["model_revision"] == asked["model_revision"]:
        fitted["model"] = asked["model"]
    other = [name for name in asked if (fitted.get(name) or None) != (asked[name] or None)]
    if other:
        lines = "; ".join(f"{name}: fitted for {fitted.get(name)}, this run has {asked[name]}" for name in other)
        raise UsageError(f"--calibration {path}: fitted for another judge ({lines}); calibrate this one")
    if fields.get("strategy") != "ecso" or fields.get("preset") != "robust":
        raise UsageError(
            f"--calibration {path}: only --strategy ecso --preset robust reads probabilities; found strategy "
            f"{fields.get('strategy')}, preset {fields.get('preset') or 'none'}"
        )


def used_by(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a sealed run keeps of its calibration (curve, threshold, abstain), or None where it had none."""
    found: Mapping[str, Any] | None = manifest.get("fingerprint_fields", {}).get("calibration")
    return found
