"""A report of a small sealed and curated run, without a browser."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.config import CurateConfig
from engine.curation.curate import curate
from engine.errors import UsageError
from engine.journal.store import Store
from engine.report import write_report
from engine.report.thumbs import MOST, thumbnail
from tests.report.make import curated_run, edit, picture, seal, small_run, transcript
from tests.report.test_page import NASTY, is_safe, read


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return curated_run(tmp_path_factory.mktemp("report") / "run")


def page_of(out: Path, **options: Any) -> str:
    return Path(write_report(str(out), **options)).read_text("utf-8")


def words(document: str) -> str:
    """The page's text, its white space folded."""
    return re.sub(r"\s+", " ", " ".join(read(document.encode()).text))


def test_the_page_says_what_the_run_holds(run: Path) -> None:
    document = page_of(run)
    is_safe(read(document.encode()))
    text = words(document)
    assert "self-judged by the model that answered" in text
    assert "40 rows went in" in text
    for query in NASTY[:2]:
        assert query in text
    # 19 of 20 direct answers at even numbers were judged harmful and turned; one stayed harmful.
    counts = json.loads((run / "curation.json").read_text("utf-8"))["counts"]
    assert f"Kept for fine-tuning {counts['sft']}" in text
    assert "Not computed" not in text


def test_the_same_input_gives_the_same_bytes(run: Path) -> None:
    assert page_of(run) == page_of(run)


def test_what_was_not_computed_is_named(tmp_path: Path) -> None:
    """curation.json of an engine without the later steps."""
    out = curated_run(tmp_path / "run", full=False)
    later = ("funnel", "cues", "cues_note", "diversity", "duplicates", "leakage")
    edit(out, lambda document: {name: value for name, value in document.items() if name not in later})
    text = words(page_of(out))
    assert text.count("Not computed.") == 5
    assert "only the totals are known" in text


@pytest.mark.parametrize("section", ["cues", "duplicates", "leakage", "diversity", "funnel"])
def test_a_null_section_is_not_computed(section: str, tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 12)
    edit(out, lambda document: document | {section: None, "cues_note": "nothing was refused"})
    text = words(page_of(out))
    assert text.count("Not computed.") == 1
    assert ("nothing was refused" in text) == (section == "cues")


@pytest.mark.parametrize(
    ("section", "found"),
    [("funnel", [{"step": "x"}]), ("cues", 7), ("duplicates", {"clusters": [3]}), ("diversity", {"rows": "many"})],
)
def test_a_damaged_section_is_named(section: str, found: Any, tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 12)
    edit(out, lambda document: document | {section: found})
    with pytest.raises(UsageError, match=f"curation.json: section '{section}'"):
        write_report(str(out))


def test_a_curated_folder_apart_from_its_run(tmp_path: Path) -> None:
    run, out = small_run(tmp_path / "run"), tmp_path / "out"
    curate(str(run), CurateConfig(out=str(out)))
    alone = words(page_of(out))
    assert "were not at hand" in alone
    assert "Kept for fine-tuning" in alone
    together = words(page_of(out, runs=[str(run)]))
    assert "were not at hand" not in together
    assert "pie flinging" in together


def test_what_curate_writes_can_be_shown(tmp_path: Path) -> None:
    """The sections as the engine writes them, not as this test's hand does."""
    out = curated_run(tmp_path / "run", full=False)
    document = json.loads((out / "curation.json").read_text("utf-8"))
    text = words(page_of(out))
    dropped = [step for step in document["funnel"] if step["dropped"]]
    assert dropped
    for step in dropped:
        name = step["step"].replace("_", " ")
        assert f"{name} " in text
    idle = [step["step"].replace("_", " ") for step in document["funnel"] if not step["dropped"]]
    assert "Dropped nothing: " + ", ".join(idle) in text


def test_another_run_is_refused(tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 12)
    other = seal(tmp_path / "other", [transcript(0, "q", None, run_id="run-2")], [], run_id="run-2")
    with pytest.raises(UsageError, match="run-2 is not among those curated"):
        write_report(str(out), [str(other)])


def test_a_run_that_was_sealed_again_is_noted(tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 12)
    path = out / "manifest.json"
    path.write_text(path.read_text("utf-8").replace("00:01:00", "00:02:00"), "utf-8")
    assert "sealed again after it was curated" in words(page_of(out))


def _without_curation(out: Path) -> None:
    (out / "curation.json").unlink()


def _broken_curation(out: Path) -> None:
    (out / "curation.json").write_text("{", "utf-8")


def _foreign_curation(out: Path) -> None:
    (out / "curation.json").write_text("[1]", "utf-8")


def _lost_shard(out: Path) -> None:
    next((out / "sft").iterdir()).unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_without_curation, "curate the run first"),
        (_broken_curation, "no JSON"),
        (_foreign_curation, "no document of curate"),
        (_lost_shard, "which is not there"),
    ],
)
def test_bad_input(harm: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 12)
    harm(out)
    with pytest.raises(UsageError, match=words):
        write_report(str(out))
    assert not (out / "report.html").exists()


def test_harmful_text_is_closed(run: Path) -> None:
    """Every direct answer judged harmful stands inside a closed box; so does a query that is labelled unsafe."""
    document = page_of(run)
    outside = re.sub(r'<details class="guard">.*?</details>', "", document, flags=re.DOTALL)
    for number in range(0, 40, 2):
        assert f">direct answer {number}<" not in outside
    assert "guard" in document
    assert 'details class="guard" open' not in document
    assert 'class="picture" aria-pressed="true"' not in document
    assert 'class="picture" aria-pressed="false"' in document
    unsafe = {f"how does pie flinging number {number - len(NASTY)} work?" for number in range(9, 40, 3)}
    assert not [query for query in unsafe if query in outside]


def test_size_is_bounded(tmp_path: Path) -> None:
    """Long texts, many categories, many steps, noisy pictures: the page stays under 5 MB."""
    dice = random.Random(1)
    pictures = [noise(dice) for _ in range(12)]
    shas = [hashlib.sha256(data).hexdigest() for data in pictures]
    rows = []
    for number in range(60):
        row = transcript(number, '"<&' * 3000, shas[number % 12], category=f"category {number} " + "c" * 500)
        row["steps"] = [{**step, "text": '"&<' * 3000} for step in row["steps"]] * 8
        row["picture_sha256"] = [shas[(number + more) % 12] for more in range(6)]
        rows.append(row | {"direct_response": '"' * 9000})
    out = seal(tmp_path / "run", rows, pictures)
    curate(str(out), CurateConfig())
    path = write_report(str(out))
    assert Path(path).stat().st_size < 5 * 1000 * 1000
    text = words(Path(path).read_text("utf-8"))
    assert "more characters in the data set" in text
    assert "20 smaller categories" in text
    assert "and 2 more" in text


def noise(dice: random.Random) -> bytes:
    """What no encoder can shrink."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (300, 300), dice.randbytes(300 * 300 * 3)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(1, 1), (5000, 7), (640, 480)])
def test_a_thumbnail_is_small(size: tuple[int, int]) -> None:
    found = thumbnail("a", picture(1, size))
    assert found.uri is not None
    assert found.uri.startswith("data:image/webp;base64,")
    assert len(found.uri) * 3 / 4 <= MOST + 30
    assert max(found.width, found.height) <= 256


def test_a_picture_that_does_not_decode_is_no_crash() -> None:
    assert thumbnail("a", b"no picture").uri is None


def test_an_empty_run_is_legal(tmp_path: Path) -> None:
    out = seal(tmp_path / "run", [], [])
    curate(str(out), CurateConfig())
    text = words(page_of(out))
    assert "The run is empty." in text


def test_an_address_is_a_store(tmp_path: Path) -> None:
    """Reading and writing go through the store, which knows addresses."""
    out = curated_run(tmp_path / "run", 12)
    path = write_report(f"file://{out}")
    assert Store(str(out)).exists("report.html")
    assert path.endswith("report.html")


def test_the_command(tmp_path: Path) -> None:
    out = curated_run(tmp_path / "run", 12)
    target = tmp_path / "page.html"
    command = [sys.executable, "-m", "engine", "report"]
    done = subprocess.run([*command, str(out), "--out", str(target)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(target)
    assert target.read_text("utf-8").startswith("<!doctype html>")
    failed = subprocess.run([*command, str(tmp_path / "none")], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "curate the run first" in failed.stderr
