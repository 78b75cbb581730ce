"""What is not published, and folders that are not touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.commands import publish as command
from engine.config import CurateConfig, PublishConfig
from engine.curation.curate import curate
from engine.errors import OutputError, UsageError
from engine.parquet import write_options
from engine.publishing import viewer
from engine.publishing.publish import publish
from engine.publishing.secrets import MASK, Redactor
from tests.export.make import curated
from tests.publishing.server import SIGNATURE, TOKEN
from tests.report.make import edit, seal, small_run, transcript

DRY = PublishConfig(repo="acme/pies", dry_run=True)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that may be harmed."""
    return Path(shutil.copytree(run, tmp_path / "run"))


def refused(path: Path, tmp_path: Path, says: str, **changes: object) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=says):
        publish(str(path), replace(DRY, **{"out": str(tmp_path / "out"), **changes}))  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before, "nothing was left behind"


def test_only_sealed_and_curated_runs(tmp_path: Path) -> None:
    refused(small_run(tmp_path / "raw"), tmp_path, "not a curated set")
    refused(curated(tmp_path / "exported"), tmp_path, "no manifest.json there")
    refused(tmp_path / "nowhere", tmp_path, "not a curated set")


def test_a_run_that_was_sealed_again_is_curated_again_first(copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"stats": {"calls": 1}}))
    refused(copy, tmp_path, "sealed again after it was curated")


def test_changed_and_missing_shards_are_named(copy: Path, tmp_path: Path) -> None:
    shard = next((copy / "sft").iterdir())
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"x")
    refused(copy, tmp_path, "the shard was changed after curation")
    shard.unlink()
    refused(copy, tmp_path, "but missing")


def test_partial_runs_need_leave(tmp_path: Path) -> None:
    found = [transcript(k, f"how does pie flinging number {k} work?", None) for k in range(24)]
    made = seal(tmp_path / "run", found, [], status="partial")
    curate(str(made), CurateConfig(allow_partial=True))
    refused(made, tmp_path, "partial")
    publish(str(made), replace(DRY, out=str(tmp_path / "out"), allow_partial=True))
    assert "Made from an unfinished run" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((tmp_path / "out" / "publication.json").read_text())["status"] == "partial"


def test_several_runs_are_named_by_their_folders(tmp_path: Path) -> None:
    for number in (1, 2):
        rows = [transcript(k + 100 * number, f"how does pie {number} number {k} fly?", None) for k in range(12)]
        for row in rows:
            row["run_id"] = f"run-{number}"
        seal(tmp_path / f"run{number}", rows, [], run_id=f"run-{number}")
    urls = [str(tmp_path / "run1"), str(tmp_path / "run2")]
    curate(urls, CurateConfig(out=str(tmp_path / "both")))
    refused(tmp_path / "both", tmp_path, "name the runs' folders with --run")
    refused(tmp_path / "both", tmp_path, "runs run-2 were curated, but not found", run=urls[:1])
    publish(str(tmp_path / "both"), replace(DRY, out=str(tmp_path / "out"), run=urls))
    assert len(json.loads((tmp_path / "out" / "publication.json").read_text())["runs"]) == 2


def test_rows_marked_harmful_are_never_supervised_rows(copy: Path, tmp_path: Path) -> None:
    """curate writes none; a set by another hand, sealed as it must be, is still refused."""
    import hashlib

    shard = next((copy / "sft").iterdir())
    table = pq.read_table(shard)
    place = table.schema.get_field_index("contains_harmful")
    changed = table.set_column(place, table.schema.field(place), pa.array([True] * table.num_rows))
    pq.write_table(changed, shard)
    sha = hashlib.sha256(shard.read_bytes()).hexdigest()

    def reseal(document: dict[str, object]) -> dict[str, object]:
        for file in document["files"]:  # type: ignore[attr-defined]
            if file["path"].startswith("sft/"):
                file["sha256"] = sha
        return document

    edit(copy, reseal)
    refused(copy, tmp_path, "contains_harmful")


def test_flags_that_do_not_go_together(run: Path, tmp_path: Path) -> None:
    refused(run, tmp_path, "expected ORG/NAME", repo="pies")
    refused(run, tmp_path, "either RUN", adapter="x")
    refused(run, tmp_path, "--scores goes with", scores="x")
    refused(run, tmp_path, "for dry runs", card="x", dry_run=False)
    refused(run, tmp_path, "no SPDX identifier", licence="free")
    refused(run, tmp_path, "expected a local folder", out="s3://x/y")
    with pytest.raises(UsageError, match="name it with --out"):
        publish(str(run), DRY)
    assert command.main([str(run), "--repo", "acme/pies", "--dry-run"]) == 2


def test_folders_of_others_are_not_touched(copy: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    for out, says in ((mine, "holds other files"), (copy, "which is only read")):
        with pytest.raises(UsageError, match=says):
            publish(str(copy), replace(DRY, out=str(out)))
    with pytest.raises(UsageError, match="which is only read"):
        publish(str(copy), replace(DRY, out=str(copy / "sft")))
    assert (mine / "thesis.tex").read_text() == "x"
    for _ in range(2):
        publish(str(copy), replace(DRY, out=str(tmp_path / "out")))
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "run", "out"}
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds other files \(notes\.txt\)"):
        publish(str(copy), replace(DRY, out=str(tmp_path / "out")))


def test_a_full_disk_leaves_the_former_folder(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(str(run), replace(DRY, out=str(out), validation_share=0.0))
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "from engine.commands.publish import main\n"
        f"sys.exit(main([{str(run)!r}, '--repo', 'acme/pies', '--dry-run', '--out', {str(out)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- the viewer's limits -------------------------------------------------------------------------------------------


def test_what_is_written_suits_the_viewer(run: Path, tmp_path: Path) -> None:
    publish(str(run), replace(DRY, out=str(tmp_path / "out"), embed_images=True, licence_ok="MIT"))
    for path in (tmp_path / "out" / "data").iterdir():
        assert viewer.check(path) == []


def test_what_does_not_suit_the_viewer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import schemas

    schema = schemas.arrow_schema("picture")
    rows = [dict.fromkeys(schema.names) | {"image": {"bytes": b"x" * 5000, "path": None}}]
    table = pa.Table.from_pylist(rows, schema)
    good, bare = tmp_path / "good.parquet", tmp_path / "bare.parquet"
    pq.write_table(table, good, **write_options(schema))
    pq.write_table(table, bare)
    with pytest.raises(OutputError, match="no page index"):
        viewer.check(bare)
    pq.write_table(table.replace_schema_metadata(None), bare, **write_options(schema))
    with pytest.raises(OutputError, match="the features name"):
        viewer.check(bare)
    monkeypatch.setattr(viewer, "MAX_ROW_GROUP_BYTES", 4000)
    assert len(viewer.check(good)) == 1
    monkeypatch.setattr(viewer, "VIEWER_LIMIT", 4000)
    with pytest.raises(OutputError, match="the Hub's viewer reads at most"):
        viewer.check(good)


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"x{TOKEN}y",
        "Authorization: Bearer abcdefghij",
        "{'authorization': 'Bearer abcdefghij'}",
        f"PUT https://s3/x?X-Amz-Signature={SIGNATURE}&X-Amz-Credential=abcdefghij",
        "hf_abcdefghijklmnop of somebody else",
        "api_org_abcdefghijklmnop",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    found = Redactor([TOKEN])(text)
    assert MASK in found
    for secret in (TOKEN, SIGNATURE, "abcdefghij"):
        assert secret not in found


def test_a_folder_that_holds_a_token_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"x" * ((1 << 20) - 10) + TOKEN.encode() + b"y")
    with pytest.raises(UsageError, match=r"a\.parquet: holds the token itself"):
        Redactor([TOKEN]).check(tmp_path)
    Redactor(["another-token"]).check(tmp_path)
    (tmp_path / "b.json").write_text('"hf_abcdefghijklmnop"')
    with pytest.raises(UsageError, match="looks like a Hub token"):
        Redactor([None]).check(tmp_path)
