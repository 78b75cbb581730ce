"""The preview itself, on a scripted run: what is answered, shown, kept and compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.commands.preview import main
from engine.config import GenerateConfig, PreviewConfig
from engine.errors import UsageError
from engine.preview.compare import compare
from engine.preview.document import read_preview
from pipelines.preview import Previewed
from pipelines.preview import run as preview
from pipelines.run import run
from tests.jobs.one_cluster import cluster

__all__ = ["cluster"]

pytestmark = [pytest.mark.ray, pytest.mark.slow]
GENERATE = GenerateConfig(backend="scripted", scripted_latency_ms=5, scripted_harmful=0.5, limit=200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cluster: None) -> tuple[Previewed, Path]:
    base = tmp_path_factory.mktemp("preview")
    config = PreviewConfig(rows=24, out=str(base / "preview"), price_per_gpu_hour=2.0, gpus=4)
    found = preview(GENERATE, config)
    run(replace(GENERATE, out=str(base / "run"), no_curate=True))
    return found, base


def test_it_answers_a_stratified_sample(made: tuple[Previewed, Path]) -> None:
    document = made[0].document
    assert document["answered"] == len(made[0].rows) == 24
    assert sum(each["rows"] for each in document["strata"]) == document["source"]["rows"] == 200
    assert all(each["answered"] >= 1 for each in document["strata"])
    assert document["estimate"]["cost"]["value"] == pytest.approx(document["estimate"]["hours"]["value"] * 8)
    assert {row["status"] for row in made[0].rows} == {"ok"}


def test_the_estimate_holds_the_actual(made: tuple[Previewed, Path]) -> None:
    found = compare(read_preview(str(made[1] / "preview")), str(made[1] / "run"))
    lines = {line.name: line for line in found.lines}
    assert {"p_harmful", "calls_per_row", "tokens_per_row", "hours", "cost"} <= lines.keys()
    assert lines["p_harmful"].inside
    assert lines["calls_per_row"].inside
    assert lines["tokens_per_row"].inside
    assert any("a script answered" in note for note in found.notes)


def test_another_fingerprint_is_not_compared(made: tuple[Previewed, Path]) -> None:
    document = {**read_preview(str(made[1] / "preview")), "fingerprint": "0" * 64}
    with pytest.raises(UsageError, match="other settings"):
        compare(document, str(made[1] / "run"))


def test_the_page_is_safe(made: tuple[Previewed, Path]) -> None:
    page = (made[1] / "preview/preview.html").read_text()
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    hidden = [row for row in made[0].rows if row["direct_verdict"] == "harmful"]
    assert hidden
    for row in hidden:  # inside a closed box, and nowhere else
        before = page.split(row["direct_response"][:40])[0]
        assert before.rstrip().endswith('dir="auto">')
        assert before.rindex('<details class="guard">') > before.rindex("</details>")
    assert "calls / row" in page


def test_the_command(made: tuple[Previewed, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """The same choice again asks no model; closed texts stay closed unless they are asked for."""
    arguments = ["-n", "24", "--backend", "scripted", "--scripted-latency-ms", "5", "--scripted-harmful", "0.5"]
    arguments += ["--limit", "200", "--out", str(made[1] / "preview")]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "complete already" in said.err
    assert "calls / row" in said.out
    harmful = next(row for row in made[0].rows if row["direct_verdict"] == "harmful")
    words = " ".join(harmful["direct_response"].split()[2:5])
    assert words not in " ".join(said.out.split())
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "preview"
    assert main(["--compare", str(made[1] / "run"), "--out", str(made[1] / "preview")]) == 0
    assert "actual" in capsys.readouterr().out


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--backend", "scripted", "--price-per-gpu-hour", "2", "--out", str(tmp_path)]) == 2
    assert "--gpus" in capsys.readouterr().err
    assert main(["--compare", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "preview.json: not there" in capsys.readouterr().err
    assert main(["--queries", "folder", "--path", "/nowhere"]) == 2
