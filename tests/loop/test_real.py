"""The loop with its real commands on the tiny model: every stage as small as it can be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import schemas
from engine.commands.loop import main
from engine.config import check
from engine.loop.match import query_ids
from engine.loop.plan import read

ROOT = Path(__file__).parents[2]


def test_the_example_is_a_loop() -> None:
    config, sections = read(str(ROOT / "examples/tiny_loop.yaml"), {"out": "somewhere"}, short=True)
    assert set(config.arms) == {"untouched", "ecso", "tuned_ecso", "tuned_reference"}
    check({"train": dict(sections.train)}, where="example")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.torch
@pytest.mark.timeout(900)
def test_one_short_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
            "arms": ["untouched", "tuned_ecso"],
            "draw_heldout": str(heldout),
            "heldout_text": "count",
            "measures": {"harmless": {"benchmark": "vlguard@known", "name": "harmless_rate", "group": "all"}},
        },
    }
    file = tmp_path / "loop.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    assert main(["--config", str(file)]) == 0
    assert "tuned on ECSO's answers" in " ".join(capsys.readouterr().out.split())
    out = tmp_path / "out"
    found = json.loads((out / "loop.json").read_text())
    schemas.check("loop", found)
    assert [each["arm"] for each in found["results"]] == ["untouched", "tuned_ecso"]
    assert all(stage["attempts"] == 1 for stage in found["stages"].values())
    folder = out / "seed-0/tuned_ecso/round-1"
    assert found["checks"][0]["rows"] >= len(query_ids(folder / "curated")) > 0
    assert json.loads((folder / "train/training.json").read_text())["steps"] == 1
    assert (out / "loop.html").stat().st_size > 10_000
    assert (out / "loop.md").read_text().startswith("| arm | seeds | harmless |")
    assert main(["--config", str(file)]) == 0  # nothing left to do: no stage is started again
    again = json.loads((out / "loop.json").read_text())
    assert again["stages"] == found["stages"]
