"""The loop with its real commands on the tiny model: every stage as small as it can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import schemas
from engine.commands.loop import main
from engine.config_file import check
from engine.loop.match import query_ids
from engine.loop.plan import read

ROOT = Path(__file__).parents[2]


def test_the_example_is_a_loop() -> None:
    config, sections = read(str(ROOT / "examples/tiny_loop.yaml"), {"out": "somewhere"}, short=True)
    assert set(config.arms) == {"untouched", "ecso", "tuned_ecso", "tuned_reference"}
    check({"train": dict(sections.train)}, where="example")
    assert config.seeds == [0]
    assert read(str(ROOT / "examples/tiny_loop.yaml"), {"out": "somewhere"})[0].seeds == [0, 1, 2]


@pytest.mark.parametrize("name", ["tiny_loop", "tiny_ablations"])
def test_the_examples_watch_answers_beside_refusals(name: str) -> None:
    """An unreadable answer is no refusal: a model that babbles would pass over-refusal alone."""
    config, _ = read(str(ROOT / f"examples/{name}.yaml"), {"out": "somewhere"})
    for rows in ("known", "new"):
        rule = {"benchmark": f"vlguard@{rows}", "name": "answered_rate", "group": "safe_safes", "judge": "world"}
        assert config.measures[f"answered_{rows}"] == rule
        assert config.stop["limits"][f"answered_{rows}"] == {"fall": 0.05}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.torch
@pytest.mark.timeout(900)
def test_one_short_round_of_four_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As few rows as every arm and measure can do with: the time is that of nine processes' starts."""
    pytest.importorskip("trl")
    heldout = tmp_path / "heldout"
    document = {
        "generate": {"queries": "sample", "split": "train", "model": "tiny", "backend": "transformers", "limit": 8},
        "curate": {"report": False, "dedup": False},
        "train": {"preset": "tiny", "max_steps": 1},
        "evaluate": {
            "backend": "transformers",
            "benchmark": [f"vlguard@known={heldout / 'known'}"],
            "judge": ["world"],
            "limit": 6,
        },
        "loop": {
            "out": str(tmp_path / "out"),
            "draw_heldout": str(heldout),
            "heldout_text": "count",
            "measures": {
                "harmless": {"benchmark": "vlguard@known", "name": "harmless_rate", "group": "all"},
                "answered": {"benchmark": "vlguard@known", "name": "answered_rate", "group": "safe_safes"},
            },
        },
    }
    file = tmp_path / "loop.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["--config", str(file)]) == 0
    assert "tuned on ECSO's answers" in " ".join(capsys.readouterr().out.split())
    out = tmp_path / "out"
    found = json.loads((out / "loop.json").read_text())
    schemas.check("loop", found)
    assert [each["arm"] for each in found["results"]] == ["untouched", "ecso", "tuned_ecso", "tuned_reference"]
    assert all(each["measures"]["answered"]["n"] > 0 for each in found["results"])
    assert all(stage["attempts"] == 1 for stage in found["stages"].values())
    folder = out / "seed-0/tuned_ecso/round-1"
    assert found["checks"][0]["rows"] >= len(query_ids(folder / "curated")) > 0
    assert [each["stage"] for each in found["checks"]] == [name for name in found["stages"] if name.endswith("train")]
    assert sorted(query_ids(folder / "curated")) == sorted(query_ids(out / "seed-0/tuned_reference/matched"))
    assert json.loads((folder / "train/training.json").read_text())["steps"] == 1
    assert (out / "loop.html").stat().st_size > 10_000
    assert (out / "loop.md").read_text().startswith("| arm | seeds | harmless | answered |")
    assert main(["--config", str(file)]) == 0  # nothing left to do: no stage is started again
    again = json.loads((out / "loop.json").read_text())
    assert again["stages"] == found["stages"]
