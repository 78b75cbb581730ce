"""The state machine over stand-in commands: which stages, in which order, again, and when it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import schemas
from engine.errors import BreakerError, OutputError, UsageError
from engine.loop.match import query_ids
from engine.loop.plan import read
from engine.loop.run import run
from tests.loop.conftest import MEASURES, VALIDATION, Made, Recorder, write_config

FOUR_ARMS = [
    "base/evaluate",
    "seed-0/tuned_ecso/round-1/generate",
    "seed-0/tuned_ecso/round-1/curate",
    "seed-0/tuned_ecso/round-1/train",
    "seed-0/tuned_ecso/round-1/evaluate",
    "seed-0/tuned_reference/generate",
    "seed-0/tuned_reference/curate",
    "seed-0/tuned_reference/train",
    "seed-0/tuned_reference/evaluate",
]


def quiet(_text: str) -> None:
    """No progress lines."""


def values(document: dict[str, Any], arm: str) -> list[float]:
    return [each["measures"]["harmless"]["value"] for each in document["results"] if each["arm"] == arm]


def test_four_arms_on_the_same_queries(make: Callable[..., Made], tmp_path: Path) -> None:
    runner = Recorder()
    document = run(*make(), runner, quiet)
    assert runner.names == FOUR_ARMS
    assert [line["arm"] for line in document["summary"]["lines"]] == [
        "untouched",
        "ecso",
        "tuned_ecso",
        "tuned_reference",
    ]
    assert values(document, "untouched") == [0.05]
    assert values(document, "ecso") == [pytest.approx(0.85)]
    assert values(document, "tuned_ecso") == [pytest.approx(0.55)]
    assert values(document, "tuned_reference") == [pytest.approx(0.65)]
    out = tmp_path / "out"
    one, other = out / "seed-0/tuned_ecso/round-1/curated", out / "seed-0/tuned_reference/matched"
    assert sorted(query_ids(one)) == sorted(query_ids(other))
    assert len(query_ids(one)) == 12
    told = [runner.stages[name].section for name in FOUR_ARMS if name.endswith("train")]
    differs = {key for key in told[0] if told[0][key] != told[1][key]}
    assert differs == {"data", "out"}
    schemas.check("loop", json.loads((out / "loop.json").read_text()))
    assert document["status"] == "complete"


def test_the_page_shows_every_arm_and_no_row(make: Callable[..., Made], tmp_path: Path) -> None:
    run(*make(), Recorder(), quiet)
    page = (tmp_path / "out/loop.html").read_text()
    for words in ("ECSO at inference", "tuned on reference answers", "Held-out check", "Tiny model"):
        assert words in page
    assert "question number" not in page
    table = (tmp_path / "out/loop.md").read_text().splitlines()
    assert table[0] == "| arm | seeds | harmless | over refusal | utility |"
    assert table[4].startswith("| tuned on ECSO's answers | 1 | 55.0 (45.0 to 65.0) |")
    assert (tmp_path / "out/loop.png").read_bytes().startswith(b"\x89PNG")
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_a_second_run_does_nothing(make: Callable[..., Made]) -> None:
    first = run(*make(), Recorder(), quiet)
    again = Recorder()
    second = run(*make(), again, quiet)
    assert again.names == []
    assert second["results"] == first["results"]
    assert second["summary"] == first["summary"]


def test_a_lost_product_is_made_again(make: Callable[..., Made], tmp_path: Path) -> None:
    run(*make(), Recorder(), quiet)
    (tmp_path / "out/seed-0/tuned_ecso/round-1/train/training.json").unlink()
    again = Recorder()
    run(*make(), again, quiet)
    assert again.names == ["seed-0/tuned_ecso/round-1/train"]


def test_another_configuration_in_the_same_folder(make: Callable[..., Made]) -> None:
    run(*make(), Recorder(), quiet)
    with pytest.raises(UsageError, match="another configuration"):
        run(*make(train={"lr": 0.1}), Recorder(), quiet)


def test_seeds_and_rounds_may_grow(make: Callable[..., Made]) -> None:
    run(*make(), Recorder(), quiet)
    again = Recorder()
    document = run(*make(seeds=[0, 1, 2], rounds=2), again, quiet)
    assert [name for name in again.names if name.startswith("seed-0")] == [
        f"seed-0/tuned_ecso/round-2/{stage}" for stage in ("generate", "curate", "train", "evaluate")
    ]
    line = next(each for each in document["summary"]["lines"] if (each["arm"], each["round"]) == ("tuned_ecso", 1))
    assert line["seeds"] == 3
    assert line["measures"]["harmless"]["mean"] == pytest.approx(0.57)
    assert line["measures"]["harmless"]["sd"] == pytest.approx(0.02)  # sample standard deviation of .55 .57 .59


def test_a_round_regenerates_with_the_tuned_model(make: Callable[..., Made], tmp_path: Path) -> None:
    runner = Recorder()
    run(*make(rounds=2, arms=["untouched", "tuned_ecso"]), runner, quiet)
    trained = str(tmp_path / "out/seed-0/tuned_ecso/round-1/train")
    assert runner.stages["seed-0/tuned_ecso/round-2/generate"].section["model"] == trained
    assert runner.stages["seed-0/tuned_ecso/round-2/train"].section["model"] == "tiny"
    assert "seed-0/tuned_reference/train" not in runner.names
    assert runner.stages["base/evaluate"].section["strategy"] == ["direct"]


def test_start_from_previous(make: Callable[..., Made], tmp_path: Path) -> None:
    runner = Recorder()
    run(*make(rounds=2, start_from="previous"), runner, quiet)
    trained = str(tmp_path / "out/seed-0/tuned_ecso/round-1/train")
    assert runner.stages["seed-0/tuned_ecso/round-2/train"].section["model"] == trained


def test_an_adapter_is_carried_on(make: Callable[..., Made], tmp_path: Path) -> None:
    runner = Recorder()
    run(*make(rounds=2, train={"adapter_only": True}), runner, quiet)
    told = runner.stages["seed-0/tuned_ecso/round-2/generate"].section
    assert told["model"] == "tiny"
    assert told["adapter"] == str(tmp_path / "out/seed-0/tuned_ecso/round-1/train")


@pytest.mark.parametrize(
    ("stop", "rounds", "words"),
    [
        ({}, 3, ""),
        ({"measure": "harmless", "least_gain": 0.01}, 2, "harmless gained 0.000, not more than 0.01"),
        ({"limits": {"over_refusal": {"rise": 0.05}}}, 1, "over_refusal rose by 0.100, more than 0.05"),
        ({"limits": {"utility": {"fall": 0.01}}}, 1, "utility fell by 0.025, more than 0.01"),
        ({"limits": {"utility": {"fall": 0.3}, "over_refusal": {"rise": 0.3}}}, 3, ""),
    ],
)
def test_the_stop_rule(make: Callable[..., Made], stop: dict[str, Any], rounds: int, words: str) -> None:
    """From the base model every round comes out alike: the second one gains nothing."""
    document = run(*make(rounds=3, stop=stop, arms=["untouched", "tuned_ecso"]), Recorder(), quiet)
    assert len(values(document, "tuned_ecso")) == rounds
    assert words in " ".join(document["notes"])
    assert bool(document["notes"]) == bool(words)


def test_variants_share_what_they_do_not_change(make: Callable[..., Made], tmp_path: Path) -> None:
    variants = {
        "slower": {"train": {"lr": 0.001}},
        "uncapped": {"curate": {"max_share": 1.0}},
        "other_strategy": {"generate": {"strategy": "ecso", "retries": 0}},
        "then_dpo": {"then": [{"method": "dpo", "mix": "somewhere"}]},
        "reference_slower": {"arm": "tuned_reference", "train": {"lr": 0.01}},
    }
    runner = Recorder()
    document = run(*make(variants=variants), runner, quiet)
    mine = [name.removeprefix("seed-0/variants/") for name in runner.names if "/variants/" in name]
    assert mine == [
        *("slower/train", "slower/evaluate"),
        *("uncapped/curate", "uncapped/train", "uncapped/evaluate"),
        *(f"other_strategy/{stage}" for stage in ("generate", "curate", "train", "evaluate")),
        *("then_dpo/train", "then_dpo/train-then-2", "then_dpo/evaluate"),
        *("reference_slower/train", "reference_slower/evaluate"),
    ]
    second = runner.stages["seed-0/variants/then_dpo/train-then-2"].section
    assert second["method"] == "dpo"
    assert second["mix"] is None
    assert second["model"] == str(tmp_path / "out/seed-0/variants/then_dpo/train")
    assert [line["kind"] for line in document["summary"]["lines"]] == ["arm"] * 4 + ["variant"] * 5


def test_swapped_openers_are_answered_and_added(make: Callable[..., Made], tmp_path: Path) -> None:
    runner = Recorder()
    run(*make(variants={"swapped": {"counterfactuals": True}}), runner, quiet)
    name, folder = "seed-0/variants/swapped", tmp_path / "out/seed-0/variants/swapped"
    mine = [each.removeprefix(f"{name}/") for each in runner.names if "/variants/" in each]
    assert mine == ["curate", "generate-swapped", "curate-both", "train", "evaluate"]
    asked = runner.stages[f"{name}/generate-swapped"].section
    assert (asked["queries"], asked["path"]) == ("parquet", str(folder / "counterfactuals.parquet"))
    assert runner.stages[f"{name}/curate"].section["counterfactuals"] == asked["path"]
    runs = runner.stages[f"{name}/curate-both"].runs
    assert runs == (str(tmp_path / "out/seed-0/tuned_ecso/round-1/generate"), str(folder / "generate-swapped"))
    assert runner.stages[f"{name}/train"].section["data"] == str(folder / "curated-both")
    assert len(query_ids(folder / "curated-both")) == 24


def test_an_ablation_that_changes_no_row_says_so(make: Callable[..., Made], tmp_path: Path) -> None:
    """The stand-in answers by the strategy alone: other retries give the arm's rows, other strategies do not. The same
    rows trained on otherwise compare something."""
    variants = {"more_retries": {"generate": {"retries": 5}}, "sources": {"generate": {"strategy": "reference"}}}
    longer = {"generate": {"retries": 5}, "train": {"epochs": 9}}
    twice = {"generate": {"retries": 5}, "then": [{"method": "dpo"}]}
    document = run(*make(variants={**variants, "longer": longer, "twice": twice}), Recorder(), quiet)
    note = "seed 0: more retries was trained on the arm's very rows, answers and all: it compares nothing"
    assert [each for each in document["notes"] if "very rows" in each] == [note]
    assert f"\n\n- {note}\n" in (tmp_path / "out/loop.md").read_text()


def test_the_best_candidate_of_a_validation_set(make: Callable[..., Made], tmp_path: Path) -> None:
    runner = Recorder()
    document = run(*make(validation=VALIDATION, arms=["untouched", "tuned_ecso"]), runner, quiet)
    told = runner.stages["seed-0/tuned_ecso/round-1/evaluate"].section
    assert told["model"] == str(tmp_path / "out/seed-0/tuned_ecso/round-1/train-1")
    assert values(document, "tuned_ecso") == [pytest.approx(0.75)]
    assert "candidate 1" in document["notes"][0]
    assert runner.names.index("base/validate") < runner.names.index("seed-0/tuned_ecso/round-1/train-0")
    assert [each["heldout"] for each in document["checks"]] == [24, 24, 24]  # 12 rows of either set


def test_a_failed_stage_is_named_and_taken_up_again(make: Callable[..., Made], tmp_path: Path) -> None:
    name = "seed-0/tuned_ecso/round-1/train"
    with pytest.raises(BreakerError, match=f"{name} ended with exit code 3"):
        run(*make(), Recorder({name: 3}), quiet)
    state = json.loads((tmp_path / "out/loop.json").read_text())
    assert (state["status"], state["stages"][name]["status"]) == ("failed", "failed")
    again = Recorder()
    run(*make(), again, quiet)
    assert again.names == FOUR_ARMS[3:]


def test_a_stage_without_its_product_failed(make: Callable[..., Made]) -> None:
    class Lazy(Recorder):
        def __call__(self, stage: Any, root: Path) -> int:
            return 0

    with pytest.raises(OutputError, match="base/evaluate"):
        run(*make(), Lazy(), quiet)


def test_unreadable_rows_are_shown(make: Callable[..., Made], tmp_path: Path) -> None:
    """The stand-in's macro holds two rows that were not judged and an error, at every seed."""
    measures = {**MEASURES, "macro": {"benchmark": "vlguard@known", "name": "harmless_rate", "group": "macro"}}
    document = run(*make(measures=measures, seeds=[0, 1], arms=["untouched", "tuned_ecso"]), Recorder(), quiet)
    tuned = document["summary"]["lines"][1]["measures"]
    assert (tuned["macro"]["unparsed"], tuned["macro"]["errors"]) == (4, 2)
    assert (tuned["harmless"]["unparsed"], tuned["harmless"]["errors"]) == (0, 0)
    words = "tuned on ECSO's answers, macro: 6 of 200 (4 not judged, 2 errors)."
    assert "untouched model, macro: 3 of 100 (2 not judged, 1 error)" in (tmp_path / "out/loop.md").read_text()
    assert words in (tmp_path / "out/loop.md").read_text()
    assert words in (tmp_path / "out/loop.html").read_text().replace("&#39;", "'")
    run(*make(seeds=[0, 1], arms=["untouched", "tuned_ecso"]), Recorder(), quiet)
    assert "nor a refusal): none." in (tmp_path / "out/loop.md").read_text()


def test_measures_must_fit_one_metric(make: Callable[..., Made]) -> None:
    with pytest.raises(UsageError, match=r"0 metrics .* fit") as found:
        run(*make(measures={"harmless": {"benchmark": "mossbench", "name": "x"}}), Recorder(), quiet)
    assert "name=harmless_rate" in str(found.value)
    with pytest.raises(UsageError, match="exactly one is expected"):
        run(
            *make(measures={"harmless": {"benchmark": "vlguard@known", "name": "harmless_rate"}}),
            Recorder(),
            quiet,
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"measures": {}}, "loop.measures is needed"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seeds": []}, "minItems"),
        ({"rounds": 0}, "loop.rounds"),
        ({"stop": {"measure": "joy"}}, "joy, which is no measure"),
        ({"stop": {"limits": {"harmless": {"up": 1}}}}, "up"),
        ({"train": {"data": "x"}}, "train.data is set by the loop"),
        ({"generate": {"out": "x"}}, "generate.out is set by the loop"),
        ({"variants": {"tuned_ecso": {}}}, "name of an arm"),
        ({"variants": {"a": {"train": {"lrr": 1}}}}, "lrr"),
        ({"variants": {"a": {"train": {"seed": 1}}}}, "train.seed is set by the loop"),
        ({"variants": {"a": {}}, "arms": ["untouched"]}, "need the arm tuned_ecso"),
        ({"validation": {"candidates": [{}, {}]}}, "needs evaluate, measures, score"),
        ({"out": None}, "loop.out"),
        ({"out": "s3://bucket/x"}, "a local folder"),
        ({"evaluate": {"benchmark": []}}, "evaluate.benchmark is needed"),
    ],
)
def test_bad_configurations_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(str(write_config(tmp_path, **changes)), {})


def test_short_sections_and_flags(tmp_path: Path) -> None:
    file = write_config(tmp_path, short={"train": {"max_steps": 3}, "loop": {"seeds": [7]}}, seeds=[1, 2])
    config, sections = read(str(file), {"rounds": 4}, short=True)
    assert (config.seeds, config.rounds, sections.train) == ([7], 4, {"max_steps": 3})
    assert read(str(file), {})[0].seeds == [1, 2]
    with pytest.raises(UsageError, match=r"no loop\.short"):
        read(str(write_config(tmp_path)), {}, short=True)
    with pytest.raises(UsageError, match="--config FILE"):
        read(None, {})
