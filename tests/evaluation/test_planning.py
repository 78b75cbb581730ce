"""From flags to runs and judges: everything that is wrong is said before anything starts."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

import schemas
from engine.config import EvaluateConfig, GenerateConfig
from engine.errors import UsageError
from engine.evaluation.planning import JudgeAsked, annotate_config, plan, run_name

SAMPLE = "engine/tiny/sample"


def planned(**flags: Any) -> Any:
    return plan(EvaluateConfig(**{"benchmark": [f"vlguard={SAMPLE}"], "judge": ["world"], "out": "o", **flags}))


def test_parts_and_strategies_become_runs() -> None:
    found = planned(
        benchmark=["mm_safetybench=DIR", f"vlguard@known={SAMPLE}"],
        benchmark_option={"mm_safetybench.parts": "SD,TYPO", "vlguard.max_tokens": 64},
        strategy=["direct", "ecso"],
        seed=3,
        limit=5,
    )
    assert [run.name for run in found.runs] == [
        "mm_safetybench-SD-direct",
        "mm_safetybench-SD-ecso",
        "mm_safetybench-TYPO-direct",
        "mm_safetybench-TYPO-ecso",
        "vlguard@known-test-direct",
        "vlguard@known-test-ecso",
    ]
    last = found.runs[-1].config
    assert (last.queries, last.path, last.split, last.max_tokens) == ("vlguard", SAMPLE, "test", 64)
    assert (last.strategy, last.seed, last.limit, last.no_curate) == ("ecso", 3, 5, True)
    assert last.out == "o/runs/vlguard@known-test-ecso"


def test_folder_names_are_plain() -> None:
    assert run_name("a/../b", "x y", "direct") == "a_.._b-x_y-direct"


def test_safety_judges_leave_utility_alone() -> None:
    found = planned(benchmark=[f"vlguard={SAMPLE}", "mme=DIR"], judge=["keywords", "world"])
    assert [[judge.label for judge in entry.judges] for entry in found.entries] == [["keywords", "world"], []]


def test_the_judges_model_is_its_own() -> None:
    flags = {"judge_model": "org/judge", "judge_backend": "openai", "judge_base_url": "http://localhost:1/v1"}
    found = planned(judge=["llm", "self"], model="tiny", backend="transformers", **flags)
    run = found.runs[0]
    llm, self_judge = (annotate_config(found.config, run, judge) for judge in run.entry.judges)
    assert (llm.model, llm.backend, llm.base_url, llm.benchmark) == (
        "org/judge",
        "openai",
        "http://localhost:1/v1",
        "vlguard",
    )
    assert (self_judge.judge, self_judge.model, self_judge.backend) == (("harm",), "tiny", "transformers")


def test_each_judge_may_have_a_model_of_its_own() -> None:
    """A guard beside an LLM, and one judge asked of two models; what one model is told holds for no other."""
    common = {"judge_model": "org/judge", "judge_revision": "r1", "judge_backend": "scripted"}
    own = {"guard.model": "org/guard", "llm@big.model": "org/big", "llm@big.revision": "r2", "llm.threshold": 0.9}
    own |= {"llm@big.backend": "openai", "llm@big.base_url": "http://localhost:1/v1"}
    own |= {"guard.trust_remote_code": True}
    found = planned(judge=["llm", "llm@big", "guard"], judge_option=own, trust_remote_code=True, **common)
    (entry,) = found.entries
    assert [(judge.label, judge.given) for judge in entry.judges] == [
        ("llm", "llm"),
        ("llm@big", "llm"),
        ("guard", "guard"),
    ]
    asked = [annotate_config(found.config, found.runs[0], judge) for judge in entry.judges]
    assert [(each.model, each.revision, each.backend, each.threshold) for each in asked] == [
        ("org/judge", "r1", "scripted", 0.9),
        ("org/big", "r2", "openai", 0.9),
        ("org/guard", None, "scripted", 0.5),
    ]
    # What is said of the evaluated model's code holds for no judge.
    assert [each.trust_remote_code for each in asked] == [False, False, True]


def test_a_judge_may_be_an_adapter() -> None:
    """Of the common judge model, and of one judge's own; the evaluated model's adapter reaches `self` alone."""
    found = planned()
    config = replace(found.config, adapter="A", judge_model="org/judge", judge_adapter="B")
    options: dict[str, dict[str, Any]] = {
        "self": {},
        "llm": {},
        "guard": {"model": "org/guard"},
        "refusal_llm": {"model": "org/other", "adapter": "C"},
    }
    judges = [JudgeAsked(name, name, None, options=each) for name, each in options.items()]
    asked = [annotate_config(config, found.runs[0], judge) for judge in judges]
    assert [each.adapter for each in asked] == ["A", "B", None, "C"]


def test_a_utility_benchmarks_judge_has_its_own_model_too() -> None:
    own = {"grade.model": "org/grader", "grade.backend": "scripted"}
    found = planned(benchmark=[f"vlguard={SAMPLE}", "mmvet=DIR"], judge_option=own)
    asked = annotate_config(found.config, found.runs[-1], found.entries[-1].judges[0])
    assert (asked.judge, asked.model) == (("grade",), "org/grader")


def test_a_judges_own_model_on_the_command_line() -> None:
    """Values may hold commas; the flag and the file give the same."""
    from engine.commands._flags import parser

    given = ["--judge-option", "llm@big.model=org/big", "--judge-option", "llm@big.engine_arg={a: 1, b: 2}"]
    read = vars(parser("evaluate", "").parse_args(given))["judge_option"]
    assert read == {"llm@big.model": "org/big", "llm@big.engine_arg": {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"benchmark": []}, "needs --benchmark"),
        ({"benchmark": ["vlgard"]}, "did you mean vlguard"),
        ({"benchmark": ["=x"]}, "expected NAME, NAME=PATH"),
        ({"benchmark": ["vlguard=a", "vlguard=b"]}, "NAME@LABEL=PATH.*vlguard stands twice"),
        ({"strategy": ["ecso", "ecso"]}, "ecso stands twice"),
        ({"strategy": []}, "at least one"),
        ({"judge": ["wrold"]}, "did you mean world"),
        ({"judge": ["llm"]}, "name one with --judge-model"),
        ({"judge": ["world", "world"]}, "a name stands twice"),
        ({"judge": ["world=x.parquet"]}, "call the file's verdicts by another name"),
        ({"judge": ["mine=x.parquet"], "strategy": ["direct", "ecso"]}, "belong to one strategy"),
        ({"judge": ["mine=/no/such.parquet"]}, "cannot be read"),
        ({"judge": ["embedding"], "judge_backend": "scripted"}, "no verdicts"),
        ({"judge": ["fastchat"]}, "--judge-model"),
        ({"judge": ["fastchat=/no/such.jsonl"], "judge_backend": "scripted"}, "cannot be read"),
        ({"judge": ["llm@a b"], "judge_backend": "scripted"}, "a label of letters"),
        ({"judge": ["world@x"]}, "tells the models of one judge apart"),
        ({"judge": ["self@x"]}, "tells the models of one judge apart"),
        ({"judge": ["llm@a", "llm@b"], "judge_backend": "scripted"}, "llm@a and llm@b ask the same model"),
        ({"judge": ["llm@a"]}, "--judge-option llm@a.model=M"),
        ({"judge_option": {"world.model": "m"}}, "world asks no model"),
        ({"judge_option": {"llm.model": "m"}}, "no such --judge was asked for"),
        ({"judge_option": {"model": "m"}}, "--judge-option model=m: expected NAME.OPTION"),
        ({"judge": ["llm"], "judge_option": {"llm.colour": 1}}, "llm.colour: expected one of model"),
        ({"judge": ["llm"], "judge_option": {"llm.workers": "two"}}, "--judge-option llm.workers"),
        ({"benchmark_option": {"parts": 1}}, "expected NAME.OPTION=VALUE"),
        ({"benchmark_option": {"mme.parts": "test"}}, "no such --benchmark was asked for"),
        ({"benchmark_option": {"vlguard.colour": "red"}}, "vlguard.colour"),
    ],
)
def test_what_is_wrong_is_said(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        planned(**flags)


def test_a_malformed_judge_file_stops_the_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "judge.jsonl"
    path.write_text('{"name": "query_safety"}\n')
    with pytest.raises(UsageError, match="line 1: field 'type' is missing"):
        planned(judge=[f"fastchat={path}"], judge_backend="scripted")


def test_shared_flags_are_those_of_generate() -> None:
    """A flag of both commands has the same rule in both; only what a benchmark decides differs."""
    generate, evaluate = (schemas.load("config")["properties"][name]["properties"] for name in ("generate", "evaluate"))
    own = {"strategy", "out", "limit", "max_tokens"}
    assert {name: evaluate[name] for name in evaluate if name in generate and name not in own} == {
        name: generate[name] for name in evaluate if name in generate and name not in own
    }
    decided = {"queries", "path", "split", "where", "columns", "source_revision", "resume", "if_running"}
    decided |= {"target_accepted", "max_candidates", "validate_all", "no_curate", "since_last"}
    assert {field.name for field in fields(GenerateConfig)} - set(evaluate) == decided


def test_defaults_stand_once() -> None:
    rules = schemas.load("config")["properties"]["evaluate"]["properties"]
    for field in fields(EvaluateConfig):
        default = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[misc]
        assert (list(default) if isinstance(default, tuple) else default) == rules[field.name]["default"], field.name
