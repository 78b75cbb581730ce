"""Lineages: what is new is found by content, every query is answered once, old versions stay as they are."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.config import CurateConfig, GenerateConfig
from engine.errors import OutputBusyError, OutputError, UsageError
from engine.journal.index import DIGEST, Done
from engine.journal.lock import RunLock, Skipped
from engine.journal.store import Store
from engine.lineage.document import read_lineage, write_lineage
from engine.lineage.fresh import content_id, fresh
from engine.lineage.versions import assert_untouched, digests, expand, look
from engine.pictures import DEFAULT_CAPS
from engine.sources import SourceConfig, bad_row_id, iter_rows, load, open_source, select
from pipelines import curation
from pipelines.lineage import run_lineage
from pipelines.run import run_command
from tests.jobs.one_cluster import cluster
from tests.pipelines.conftest import folder_of, rows
from tests.pipelines.test_cluster import bucket

__all__ = ["bucket", "cluster"]

ROOT = Path(__file__).parent.parent.parent


def lines(start: int, stop: int) -> list[dict[str, str]]:
    return [
        {"image": f"{k % 4}.png", "text": f"What is sock number {k} made of, and who knitted it?"}
        for k in range(start, stop)
    ]


def plan_of(folder: Path) -> Any:
    return select(open_source(SourceConfig("folder", path=str(folder))).windows())


def all_rows(plan: Any) -> list[Any]:
    return [row for window, selection in plan.windows for row in iter_rows(window, selection)]


def done(ids: list[str]) -> Done:
    return Done(ids=np.unique(np.array([bytes.fromhex(each[:32]) for each in ids], DIGEST)))


# --- what is new ---------------------------------------------------------------------------------------------------


def test_a_content_id_is_the_query_id(tmp_path: Path) -> None:
    plan = plan_of(folder_of(tmp_path / "in", lines(0, 9)))
    for row in all_rows(plan):
        assert content_id(row, DEFAULT_CAPS) == load(row).query_id


def test_only_unknown_content_is_taken(tmp_path: Path) -> None:
    first = all_rows(plan_of(folder_of(tmp_path / "one", lines(0, 10))))
    # The same rows at other places, under other names, among new ones.
    second = plan_of(folder_of(tmp_path / "two", [*lines(12, 15), *lines(5, 10), *lines(15, 17)]))
    known = done([load(row).query_id for row in first])
    found = fresh(second, known, DEFAULT_CAPS)
    assert (found.plan.total, found.known) == (5, 5)
    assert [row.text for row in all_rows(found.plan)] == [each["text"] for each in lines(12, 17)]
    assert sum(window.count for window, _ in found.plan.windows) == 5
    assert fresh(second, known, DEFAULT_CAPS, limit=2).plan.total == 2
    assert fresh(second, Done(), DEFAULT_CAPS).plan.total == second.total


def test_another_picture_under_the_same_name_is_new(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", lines(0, 4))
    known = done([load(row).query_id for row in all_rows(plan_of(folder))])
    Image.new("RGB", (16, 16), (1, 2, 3)).save(folder / "2.png")
    found = fresh(plan_of(folder), known, DEFAULT_CAPS)
    assert [row.text for row in all_rows(found.plan)] == [lines(2, 3)[0]["text"]]


def test_a_bad_row_is_new_once_and_again_when_mended(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", [*lines(0, 2), "{ not json", {"image": "gone.png", "text": "Where?"}])
    (folder / "gone.png").write_bytes(b"no picture")
    plan = plan_of(folder)
    bad = [bad_row_id(row.source, row.key) for row in all_rows(plan)[2:]]
    good = [load(row).query_id for row in all_rows(plan)[:2]]
    assert fresh(plan, done(good), DEFAULT_CAPS).plan.total == 2
    assert fresh(plan, done(good + bad), DEFAULT_CAPS).plan.total == 0
    Image.new("RGB", (16, 16), (9, 9, 9)).save(folder / "gone.png")
    assert [row.text for row in all_rows(fresh(plan_of(folder), done(good + bad), DEFAULT_CAPS).plan)] == ["Where?"]


# --- the whole chain, scripted -------------------------------------------------------------------------------------


def config(root: Path, source: Path, **changes: Any) -> GenerateConfig:
    return GenerateConfig(
        queries="folder", path=str(source), backend="scripted", since_last=True, out=str(root), **changes
    )


def checksums(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.glob("v*/**/*"))
        if path.is_file() and (path.suffix == ".parquet" or path.name == "manifest.json")
    }


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory, cluster: None) -> dict[str, Any]:
    """Three versions of a source that grows with overlaps, and a fourth start with nothing new."""
    base = tmp_path_factory.mktemp("lineage")
    root = base / "root"
    sources = [lines(0, 20), lines(10, 30), [*lines(40, 45), *lines(0, 35)]]
    kept: list[dict[str, str]] = []
    made = []
    for number, each in enumerate(sources):
        folder = folder_of(base / f"in{number}", each)
        made.append(run_lineage(config(root, folder)))
        kept.append(checksums(root))
    again = run_lineage(config(root, folder))
    return {"base": base, "root": root, "made": made, "kept": kept, "again": again}


@pytest.mark.ray
@pytest.mark.slow
def test_every_query_is_answered_once_over_the_lineage(lineage: dict[str, Any]) -> None:
    root = lineage["root"]
    found = [rows(root / f"v000{number}", "transcripts") for number in (1, 2, 3)]
    assert [len(each) for each in found] == [20, 10, 10]
    ids = Counter(row["query_id"] for each in found for row in each)
    assert set(ids.values()) == {1}
    assert {row["query"] for each in found for row in each} == {row["text"] for row in [*lines(0, 35), *lines(40, 45)]}


@pytest.mark.ray
@pytest.mark.slow
def test_old_shards_stay_as_they_are(lineage: dict[str, Any]) -> None:
    first, second, third = lineage["kept"]
    assert len(first) >= 3  # transcripts, pictures, manifest
    assert first.items() <= second.items() <= third.items()
    assert checksums(lineage["root"]) == third


@pytest.mark.ray
@pytest.mark.slow
def test_nothing_new_makes_no_version(lineage: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    root = lineage["root"]
    assert lineage["again"].manifest is None
    assert not (root / "v0004").exists()
    assert run_command(config(root, lineage["base"] / "in2")) == 0
    said = capsys.readouterr()
    assert "nothing new" in said.out
    assert "v0001, v0002, v0003" in said.err


@pytest.mark.ray
@pytest.mark.slow
def test_the_document_lists_the_versions(lineage: dict[str, Any]) -> None:
    document = read_lineage(str(lineage["root"]))
    assert document is not None
    assert [(each["version"], each["known"], each["counts"]["read"]) for each in document["versions"]] == [
        ("v0001", 0, 20),
        ("v0002", 10, 10),
        ("v0003", 30, 10),
    ]
    assert document["totals"]["read"] == 40
    assert [each["changed"] for each in document["versions"]] == [[], [], []]
    assert all(each["status"] == "complete" and each["scripted"] for each in document["versions"])


@pytest.mark.ray
@pytest.mark.slow
def test_curation_is_over_all_versions(lineage: dict[str, Any], tmp_path: Path) -> None:
    root = lineage["root"]
    document = json.loads((root / "curation.json").read_text())
    assert document["counts"]["read"] == 40
    assert [each["run_id"] for each in document["runs"]] == [made.manifest["run_id"] for made in lineage["made"]]
    assert not (root / "v0001/sft").exists()
    assert (root / "report.html").exists()
    again = curation.run(str(root), CurateConfig(out=str(tmp_path / "elsewhere"), report=False))
    assert again["counts"] == document["counts"]


@pytest.mark.ray
@pytest.mark.slow
def test_the_card_shows_the_lineage(lineage: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    from engine.config import PublishConfig
    from engine.publishing.publish import publish

    publish(str(lineage["root"]), PublishConfig(repo="org/socks", dry_run=True, out=str(tmp_path / "card")))
    text = (tmp_path / "card/README.md").read_text()
    assert "| v0002 | 10 | 10 |" in text
    assert "v0003" in text


@pytest.mark.ray
@pytest.mark.slow
def test_a_stopped_version_is_finished_first(tmp_path: Path, cluster: None) -> None:
    """A version that did not answer all its rows resumes in its own folder, and takes what came in between."""
    root = tmp_path / "root"
    folder = folder_of(tmp_path / "in", lines(0, 12))
    run_lineage(config(root, folder, no_curate=True))
    folder = folder_of(tmp_path / "in", lines(0, 30))
    # Stopped by a signal after some rows: as a drained run leaves it.
    made = run_lineage(config(root, folder, no_curate=True, limit=6))
    manifest = root / "v0002/manifest.json"
    manifest.unlink()
    (root / "lineage.json").unlink()
    assert look(str(root)).open == "v0002"
    again = run_lineage(config(root, folder, no_curate=True))
    assert again.version == "v0002"
    assert again.manifest is not None
    assert made.manifest is not None
    assert again.manifest["run_id"] == made.manifest["run_id"]
    assert again.manifest["counts"]["read"] == 18
    assert not (root / "v0003").exists()


@pytest.mark.ray
@pytest.mark.slow
def test_a_source_that_was_emptied_meanwhile(tmp_path: Path, cluster: None) -> None:
    """A version was stopped, and its rows were moved away: it is finished with what it has and what is new. Rows that
    stand where its own stood are the next version's."""
    root = tmp_path / "root"
    run_lineage(config(root, folder_of(tmp_path / "in", lines(0, 4)), no_curate=True))
    (root / "v0001/manifest.json").unlink()
    (root / "lineage.json").unlink()
    folder = folder_of(tmp_path / "in", lines(50, 60))
    made = run_lineage(config(root, folder, no_curate=True))
    assert made.manifest is not None
    assert (made.version, made.manifest["status"], made.manifest["counts"]["read"]) == ("v0001", "complete", 10)
    made = run_lineage(config(root, folder, no_curate=True))
    assert made.manifest is not None
    assert (made.version, made.manifest["counts"]["read"]) == ("v0002", 4)
    assert run_lineage(config(root, folder, no_curate=True)).manifest is None


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.s3
@pytest.mark.skipif("ECSO_BARS" not in os.environ, reason="a minute and a half: run by `make bars` (ECSO_BARS=1)")
def test_a_lineage_on_an_object_store(bucket: str, tmp_path: Path) -> None:
    """Two versions on s3://, each by a process of its own, as a schedule starts it."""
    bucket = f"{bucket}-lineage"  # a prefix of its own: the bucket is shared with other tests of the process
    for stop in (6, 9):
        folder = folder_of(tmp_path / "in", lines(0, stop))
        command = [sys.executable, "-m", "engine.generate", "--queries", "folder", "--path", str(folder)]
        command += ["--backend", "scripted", "--since-last", "--out", bucket]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
    document = read_lineage(bucket)
    assert document is not None
    assert [each["counts"]["read"] for each in document["versions"]] == [6, 3]
    assert json.loads(Store(bucket).read("curation.json"))["counts"]["read"] == 9


# --- refusals ------------------------------------------------------------------------------------------------------


def test_two_starts_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock is on ROOT: another start fails, or skips and exits 0."""
    folder = folder_of(tmp_path / "in", lines(0, 2))
    root = tmp_path / "root"
    with RunLock(Store(str(root))):
        with pytest.raises(OutputBusyError, match="held by"):
            run_lineage(config(root, folder))
        with pytest.raises(Skipped):
            run_lineage(config(root, folder, if_running="skip"))
        assert run_command(config(root, folder, if_running="skip")) == 0
    assert "already running" in capsys.readouterr().out


def test_what_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", lines(0, 2))
    with pytest.raises(UsageError, match="needs --out ROOT"):
        run_lineage(replace(config(tmp_path, folder), out=None))
    (tmp_path / "run/journal").mkdir(parents=True)
    (tmp_path / "run/journal/run.json").write_text("{}")
    with pytest.raises(UsageError, match="an ordinary run, no lineage"):
        run_lineage(config(tmp_path / "run", folder))
    root = tmp_path / "root"
    root.mkdir()
    write_lineage(str(root), [])
    with pytest.raises(UsageError, match="is a lineage; add --since-last"):
        run_command(replace(config(root, folder), since_last=False))
    (root / "lineage.json").write_text("{}")
    with pytest.raises(UsageError, match="damaged"):
        look(str(root))
    assert expand([str(folder)]) == [str(folder)]


@pytest.mark.ray
@pytest.mark.slow
def test_a_changed_version_is_named(lineage: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "copy"
    shutil.copytree(lineage["root"], root)
    before = digests(str(root), ["v0001", "v0002"])
    shard = next((root / "v0001/transcripts").glob("*.parquet"))
    moved = shard.rename(shard.with_suffix(".gone"))
    with pytest.raises(OutputError, match="older version is gone"):
        assert_untouched(str(root), before)
    moved.rename(shard)
    manifest = root / "v0002/manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(UsageError, match="sealed again since"):
        look(str(root))
