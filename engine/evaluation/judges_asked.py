"""What `--judge` and `--judge-option` say: which judges, each with which model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine import registry
from engine.config import EvaluateConfig
from engine.config_file import check
from engine.errors import UsageError
from engine.evaluation.benchmarks.base import Benchmark
from engine.judges import FILE_JUDGES, JUDGES, JudgeOptions, imported
from engine.judges.planning import split_name

SELF = "self"
"""The model's own verdict: from the transcript where there is one, else asked with ECSO's question (`harm`)."""
WITHOUT_MODEL = frozenset({"keywords", "refusal", "world", "guardrank"})
"""Judges that ask no model, or (guardrank) bring their own in a file."""
JUDGE_LABEL = re.compile(r"[\w-]+")
JUDGE_FLAGS = (
    *("model", "revision", "backend", "base_url", "api_key_env", "workers", "gpus_per_worker", "tensor_parallel"),
    *("engine_arg", "chat_template_kwargs", "adapter", "trust_remote_code"),
)
"""`--judge-…` flags that say which model a judge asks, and how; with `threshold` the options of `--judge-option`."""
OF_ONE_MODEL = ("revision", "engine_arg", "chat_template_kwargs", "adapter", "trust_remote_code")
"""What is said of one model holds for no other: a judge with a model of its own takes these from its own options."""


@dataclass(frozen=True, slots=True)
class JudgeAsked:
    """One `--judge`. `label` is its name in the scores; `file` what stood behind the equals sign; `options` what
    `--judge-option` says of it alone, by the names of JUDGE_FLAGS and `threshold`."""

    label: str
    name: str
    file: str | None
    asks: bool | None = None
    """Of a judge from outside the engine: whether it asks a model. None: one of ours, or a file."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_self(self) -> bool:
        return self.name == SELF

    @property
    def own_name(self) -> str:
        """What `--judge-option` calls it: `NAME` or `NAME@LABEL`."""
        return self.label.partition("#")[0]

    @property
    def given(self) -> str:
        """As annotate takes it."""
        return self.name if self.file is None else f"{self.name}={self.file}"


def by_name(flag: str, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """`NAME.OPTION=VALUE` by name (or label)."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        name, dot, option = key.rpartition(".")
        if not dot or not name or not option:
            raise UsageError(f"{flag} {key}={value}: expected NAME.OPTION=VALUE")
        found.setdefault(name, {})[option] = value
    return found


def judge_options(config: EvaluateConfig) -> dict[str, dict[str, Any]]:
    """`--judge-option` by judge; each value under the rule of the flag that it stands for."""
    found = by_name("--judge-option", config.judge_option)
    for name, options in found.items():
        for option, value in options.items():
            if option not in (*JUDGE_FLAGS, "threshold"):
                raise UsageError(
                    f"--judge-option {name}.{option}: expected one of {', '.join((*JUDGE_FLAGS, 'threshold'))}"
                )
            check({"evaluate": {f"judge_{option}": value}}, where=f"--judge-option {name}.{option}")
    return found


def judges_of(config: EvaluateConfig, benchmark: Benchmark) -> tuple[JudgeAsked, ...]:
    """What `--judge` says for safety and over-refusal; utility benchmarks keep their own, or none."""
    asked = config.judge if config.judge and benchmark.kind != "utility" else benchmark.judges
    found = tuple(_judge(config, given) for given in asked)
    labels = [judge.label for judge in found]
    if len(set(labels)) < len(labels):
        raise UsageError(
            f"--judge: {', '.join(sorted(labels))}: a name stands twice; judges are told apart by it (one judge with "
            "two models: NAME@LABEL, and --judge-option NAME@LABEL.model=M)"
        )
    return found


def _judge(config: EvaluateConfig, given: str) -> JudgeAsked:
    """`NAME[@LABEL][=FILE]`."""
    head, sign, behind = given.partition("=")
    before, at, tag = head.partition("@")
    if at and JUDGE_LABEL.fullmatch(tag) is None:
        raise UsageError(f"--judge {given}: expected NAME@LABEL, a label of letters, digits, - and _")
    found = _plain_judge(config, f"{before}{sign}{behind}")
    if at and (found.is_self or not needs_model(found)):
        raise UsageError(f"--judge {given}: a label tells the models of one judge apart; {found.name} is asked of one")
    label, mark, part = found.label.partition("#")
    own = judge_options(config)
    options = {**own.get(found.name, {}), **own.get(f"{found.name}@{tag}" if at else "", {})}
    if options and (found.is_self or not needs_model(found)):
        raise UsageError(f"--judge-option {found.name}.{next(iter(options))}: {found.name} asks no model of its own")
    return replace(found, label=f"{label}@{tag}{mark}{part}" if at else found.label, options=options)


def _plain_judge(config: EvaluateConfig, given: str) -> JudgeAsked:
    name, file = split_name(given)
    if name == SELF and file is None:
        return JudgeAsked(SELF, SELF, None)
    if file is not None and name not in FILE_JUDGES:
        if name in JUDGES or name == SELF or registry.part_of("judges", name, JUDGES):
            raise UsageError(f"--judge {given}: {name} is a judge; call the file's verdicts by another name")
        if len(config.strategy) > 1:
            raise UsageError(f"--judge {given}: verdicts in a file belong to one strategy's answers; ask for one")
        imported.key_of(name, file, None)  # a file that is not there is said now
        return JudgeAsked(name, name, file)
    if name == "embedding":
        raise UsageError(f"--judge {given}: it gives vectors, no verdicts")
    if name not in JUDGES:
        return JudgeAsked(name, name, None, asks=_asks(name))
    part = (file or "").partition("#")[2]
    return JudgeAsked(f"{name}#{part}" if part else name, name, file)


def _asks(name: str) -> bool:
    """Whether a judge from outside asks a model: it refuses to be made without one. UsageError for an unknown name."""
    found = registry.find("judges", name, JUDGES)
    try:
        found.make(JudgeOptions())
    except UsageError:
        return True
    return False


def needs_model(judge: JudgeAsked) -> bool:
    """Whether a model is asked."""
    if judge.asks is not None:
        return judge.asks
    return judge.is_self or (judge.name not in WITHOUT_MODEL and (judge.file is None or judge.name in FILE_JUDGES))
