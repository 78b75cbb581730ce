"""The card: what it says, that nothing on it is markup of a row, and that people's own words stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from engine.config import CurateConfig, PublishConfig
from engine.curation.curate import curate
from engine.errors import UsageError
from engine.publishing.card import BEGIN, END, merge, split
from engine.publishing.facts import md, public_name
from engine.publishing.publish import publish
from tests.report.make import NASTY, curated_run, edit, picture, seal, sections, transcript

DRY = PublishConfig(repo="acme/pies", dry_run=True)
YAML = "license: other\ntags: [a, b]\nconfigs:\n- config_name: default\n  data_files: x\n"
NEW = f"---\n{YAML}---\n\n{BEGIN}\nnew\n{END}\n"


def card(run: Path, out: Path, **changes: Any) -> str:
    publish(str(run), replace(DRY, out=str(out), **changes))
    return (out / "README.md").read_text("utf-8")


def test_what_the_card_says(run: Path, tmp_path: Path) -> None:
    """Every point of the list: what, how, funnel, categories, checks, licences, limits, citation, loading, picture."""
    text = card(run, tmp_path / "pies")
    document = json.loads((run / "curation.json").read_text())
    for step in document["funnel"]:
        assert f"| {md(step['step'])} | {step['rows_in']} | {step['dropped']} | {step['rows_out']} |" in text
    for words in (
        "safe answers that a vision-language model wrote itself",
        "| strategy | ecso, preset robust |",
        "some-model at no revision",
        "(sha256 of the set)",
        "p(harmful) 0.5",
        "none: p(harmful) is the model's own, uncalibrated",
        "| diary peeking | 20 | 18 |",
        "60 rows were read, 56 kept, 4 rejected (never published), 29 preference pairs.",
        "cue AUC",
        "not checked: no index of a benchmark was given",
        "| folder | not known to the engine: ask the owner |",
        "## Known limits",
        "arXiv:2403.09572",
        'load_dataset("acme/pies")',
        "python -m engine.hydrate acme/pies --pictures",
        "](ecso-report.png)",
    ):
        assert words in text, words
    data, _ = split(text, "")
    assert data["license"] == "other"
    assert {"synthetic", "vlm-safety"} <= set(data["tags"])
    assert data["size_categories"] == ["n<1K"]
    assert sum(each["num_examples"] for each in data["dataset_info"]["splits"]) == 56
    with Image.open(tmp_path / "pies" / "ecso-report.png") as drawn:
        drawn.load()
        assert drawn.format == "PNG"
        assert len(drawn.getcolors(1 << 16) or []) > 10, "something is drawn on it"


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    """No time and no chance in it: a second push finds nothing to do."""
    for name in ("one", "two"):
        card(run, tmp_path / name)
    files = [sorted((tmp_path / name).rglob("*")) for name in ("one", "two")]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True) if a.is_file())


def test_figures_of_fuller_curations_stand_on_it(tmp_path: Path) -> None:
    made = curated_run(tmp_path / "run", 40, full=False)
    edit(made, lambda document: document | sections(made, document))
    text = card(made, tmp_path / "pies")
    assert "before 0.910 over" in text
    assert "after 0.620 over" in text
    assert "2 rows matched vlguard-test, mm-safetybench and were left out" in text
    assert "7 were duplicates" in text


def test_nothing_of_a_row_is_markup_and_no_text_of_a_row_is_told(tmp_path: Path) -> None:
    """Hostile categories are plain words; queries and answers do not occur at all."""
    found = [transcript(k, f"how does pie flinging number {k} work?", None) for k in range(24)]
    for k, row in enumerate(found):
        row["category"] = [*NASTY, "a | b |\n# c", "[x](javascript:1)", "---", END][k % (len(NASTY) + 4)]
    curate(str(seal(tmp_path / "run", found, [])), CurateConfig())
    text = card(tmp_path / "run", tmp_path / "pies")
    assert "<script" not in text
    assert "<img" not in text
    assert "](javascript" not in text
    assert text.count(END) == text.count(BEGIN) == 1
    assert "\n# c" not in text
    assert "pie flinging number" not in text
    assert "safe answer" not in text.replace("safe answers", "")
    assert all(line.count(" | ") in (0, 1, 2, 3, 4) for line in text.splitlines() if line.startswith("| "))


def test_a_scripted_run_is_a_dry_run_only_and_the_card_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [transcript(k, f"how does pie flinging number {k} work?", None) for k in range(24)]
    curate(str(seal(tmp_path / "run", found, [], scripted=True)), CurateConfig())
    text = card(tmp_path / "run", tmp_path / "pies")
    assert "> **A dry run of a scripted run: no model wrote these answers. Not to be published.**" in text
    assert json.loads((tmp_path / "pies" / "publication.json").read_text())["scripted"] is True
    with pytest.raises(UsageError, match="a scripted run"):
        publish(str(tmp_path / "run"), replace(DRY, dry_run=False))


def test_paths_of_this_machine_stay_here(tmp_path: Path) -> None:
    found = [transcript(k, f"how does pie flinging number {k} work?", None) for k in range(24)]
    where = tmp_path / "secret-project" / "my-model"
    models = [{"role": "policy", "name": str(where), "revision": None}]
    config = {"queries": "folder", "path": str(tmp_path), "strategy": "ecso", "preset": "robust"}
    curate(str(seal(tmp_path / "run", found, [], models=models, config=config)), CurateConfig())
    done = publish(str(tmp_path / "run"), replace(DRY, out=str(tmp_path / "pies")))
    for path in (tmp_path / "pies").iterdir():
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), path
    assert "my-model \\(a local folder\\)" in (tmp_path / "pies" / "README.md").read_text()
    assert done.notes == [f"the column `model` of every row names a local folder: {where}"]
    assert public_name("org/model") == "org/model"


def test_the_calibration_is_named(tmp_path: Path) -> None:
    found = [transcript(k, f"how does pie flinging number {k} work?", None) for k in range(24)]
    curve = {"method": "platt", "slope": 1.5, "intercept": 0.1}
    fields = {"threshold": 0.43, "calibration": {"curve": curve, "threshold": 0.43, "abstain": [0.3, 0.6]}}
    curate(str(seal(tmp_path / "run", found, [], fingerprint_fields=fields)), CurateConfig())
    text = card(tmp_path / "run", tmp_path / "pies")
    assert "| threshold | p(harmful) 0.43 |" in text
    assert "| calibration | platt, threshold 0.43, undecided from 0.3 to 0.6 |" in text


# --- merging -------------------------------------------------------------------------------------------------------


def test_words_outside_of_the_markers_stay_byte_for_byte() -> None:
    old = f"---\nlicense: mit\n---\r\n# Mine  \n\n{BEGIN}\nold\n{END}\n\n  trailing\n"
    merged = merge(NEW, old).text
    assert merged.endswith(f"---\n# Mine  \n\n{BEGIN}\nnew\n{END}\n\n  trailing\n")
    assert merge(NEW, merged).text == merged


def test_a_card_without_markers_gets_the_part_at_its_end() -> None:
    assert merge(NEW, "# Mine\n").text.endswith(f"---\n# Mine\n\n{BEGIN}\nnew\n{END}\n")
    assert merge(NEW, None).text == NEW
    assert merge(NEW, "  \n").text == NEW


def test_yaml_keys_of_people_stay_and_those_of_the_files_are_replaced() -> None:
    old = {
        "license": "cc-by-4.0",
        "mine": {"deep": [1, 2]},
        "tags": ["b", "c"],
        "size_categories": ["n<1K"],
        "configs": [{"config_name": "default", "data_files": "stale"}, {"config_name": "extra", "data_files": "e/*"}],
        "dataset_info": {"features": "stale"},
    }
    merged = merge(NEW, f"---\n{yaml.safe_dump(old)}---\nbody\n")
    data, _ = split(merged.text, "")
    assert data["license"] == "cc-by-4.0"
    assert merged.notes == ["the card on the Hub says license: cc-by-4.0, which was kept (this run would say other)"]
    assert data["mine"] == {"deep": [1, 2]}
    assert data["tags"] == ["b", "c", "a"]
    assert data["configs"] == [
        {"config_name": "default", "data_files": "x"},
        {"config_name": "extra", "data_files": "e/*"},
    ]
    assert "dataset_info" not in data, "stale features break loading"


@pytest.mark.parametrize(
    ("old", "says"),
    [
        (f"{BEGIN}\nno end\n", "1 lines"),
        (f"{END}\n{BEGIN}\n", "in this order"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", "2 lines"),
        ("---\na: [1\n---\nbody\n", "does not parse"),
        ("---\n- a\n---\nbody\n", "no mapping"),
    ],
)
def test_a_damaged_card_is_named_and_left_alone(old: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        merge(NEW, old)


def test_a_dry_run_merges_with_the_card_that_it_is_given(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("---\nmine: 1\n---\n# Mine\n")
    text = card(run, tmp_path / "pies", card=str(tmp_path / "mine.md"))
    assert text.startswith("---\nmine: 1\n")
    assert "# Mine\n\n" + BEGIN in text


def test_pictures_are_only_inside_where_somebody_vouches_for_them(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go together"):
        card(run, tmp_path / "pies", embed_images=True)
    with pytest.raises(UsageError, match=r"did you mean CC-BY-4\.0"):
        card(run, tmp_path / "pies", embed_images=True, licence_ok="cc-by-4")
    text = card(run, tmp_path / "pies", embed_images=True, licence_ok="cc-by-4.0")
    assert "asserts the licence CC-BY-4.0 for them" in text
    assert split(text, "")[0]["license"] == "cc-by-4.0"
    assert picture(0)[200:400] in b"".join(path.read_bytes() for path in (tmp_path / "pies" / "data").iterdir())
