"""The loop's configuration, read whole and checked before the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.config import LoopConfig
from engine.config_file import check, read_section
from engine.errors import UsageError

ARMS = ("untouched", "ecso", "tuned_ecso", "tuned_reference")
TUNED = ("tuned_ecso", "tuned_reference")
OWNED = {
    "generate": ("out", "seed", "no_curate"),
    "curate": ("out", "counterfactuals"),
    "train": ("data", "model", "out", "seed", "resume"),
    "evaluate": ("model", "adapter", "out", "strategy", "name"),
}
"""Keys that the loop sets itself."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A named ablation of a tuned arm: sections that override the arm's."""

    name: str
    arm: str = "tuned_ecso"
    generate: Mapping[str, Any] = field(default_factory=dict)
    curate: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    then: Sequence[Mapping[str, Any]] = ()
    counterfactuals: bool = False


@dataclass(frozen=True, slots=True)
class Sections:
    """What each kind of stage is told, before the loop's own keys. `then`: trainings that follow the first."""

    generate: Mapping[str, Any] = field(default_factory=dict)
    curate: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    then: Sequence[Mapping[str, Any]] = ()
    counterfactuals: bool = False

    def changed(self, variant: Variant) -> Sections:
        """These sections with a variant's overrides."""
        return replace(
            self,
            generate={**self.generate, **variant.generate},
            curate={**self.curate, **variant.curate},
            train={**self.train, **variant.train},
            then=variant.then,
            counterfactuals=variant.counterfactuals,
        )


def read(file: str | None, flags: Mapping[str, Any], *, short: bool = False) -> tuple[LoopConfig, Sections]:
    """Flags > file > defaults; with `short` the loop's own `short` sections go over the others.

    UsageError names every key that is wrong, missing, or not the user's to set.
    """
    if file is None:
        raise UsageError("loop needs --config FILE: YAML with the sections generate, curate, train, evaluate and loop")
    found = {name: read_section(file, name) for name in ("generate", "curate", "train", "evaluate", "loop")}
    if short:
        smaller = found["loop"].get("short") or {}
        if not smaller:
            raise UsageError(f"--short: --config {file} has no loop.short")
        found = {name: {**section, **smaller.get(name, {})} for name, section in found.items()}
    found["loop"] |= flags
    where = f"--config {file}"
    check(found, where=where)
    config = LoopConfig(**found.pop("loop"))
    variants = tuple(Variant(name, **(given or {})) for name, given in config.variants.items())
    sections = Sections(found["generate"], found["curate"], found["train"], found["evaluate"], variants)
    _check(config, sections, where)
    return config, sections


def _check(config: LoopConfig, sections: Sections, where: str) -> None:
    for name, keys in OWNED.items():
        given = [key for key in keys if key in getattr(sections, name)]
        given += [key for each in sections.variants if name != "evaluate" for key in keys if key in getattr(each, name)]
        if given:
            raise UsageError(f"{where}: {name}.{given[0]} is set by the loop itself; leave it out")
    if not config.out:
        raise UsageError(f"{where}: loop.out (or --out DIR) is needed")
    if "://" in config.out:
        raise UsageError(f"{where}: loop.out {config.out}: a local folder is expected")
    if not sections.evaluate.get("benchmark"):
        raise UsageError(f"{where}: evaluate.benchmark is needed: what is every round measured on?")
    if not config.measures:
        raise UsageError(f"{where}: loop.measures is needed: which metrics of scores.json does the loop look at?")
    if len(set(config.seeds)) != len(config.seeds) or not config.seeds:
        raise UsageError(f"{where}: loop.seeds {list(config.seeds)}: one or more, each once")
    _check_names(config, where)


def _check_names(config: LoopConfig, where: str) -> None:
    known = set(config.measures)
    rule = config.stop
    named = [*([rule["measure"]] if rule.get("measure") else []), *rule.get("limits", {})]
    unknown = sorted(set(named) - known)
    if unknown:
        raise UsageError(f"{where}: loop.stop names {unknown[0]}, which is no measure; there are {', '.join(known)}")
    validation = config.validation
    if validation:
        missing = sorted({"evaluate", "candidates", "measures", "score"} - set(validation))
        if missing:
            raise UsageError(f"{where}: loop.validation needs {', '.join(missing)} too")
        odd = sorted(set(validation["score"]) - set(validation["measures"]))
        if odd:
            raise UsageError(f"{where}: loop.validation.score names {odd[0]}, which is none of its measures")
    taken = set(ARMS) & set(config.variants)
    if taken:
        raise UsageError(f"{where}: loop.variants.{sorted(taken)[0]}: this is the name of an arm")
    if config.variants and "tuned_ecso" not in config.arms:
        raise UsageError(f"{where}: loop.variants need the arm tuned_ecso: they are compared with it")
