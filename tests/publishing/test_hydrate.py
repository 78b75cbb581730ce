"""Pictures left out and joined again: the same rows, bytes and files; what is missing is named."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.commands import hydrate as command
from engine.config import HydrateConfig, PublishConfig
from engine.errors import OutputError, UsageError
from engine.parquet import TableWriter
from engine.publishing import hydrate as joining
from engine.publishing.data import SEAL, read_seal
from engine.publishing.hydrate import hydrate
from engine.publishing.publish import publish
from engine.publishing.splits import TRAIN, VALIDATION, Splits
from engine.publishing.tables import rebatched
from tests.report.make import curated_run, picture

DRY = PublishConfig(repo="acme/pies", dry_run=True, validation_share=0.3)


def dry(run: Path, out: Path, **changes: Any) -> Path:
    publish(str(run), replace(DRY, out=str(out), **changes))
    return out


def embedded(run: Path, out: Path, **changes: Any) -> Path:
    return dry(run, out, embed_images=True, licence_ok="CC-BY-4.0", **changes)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()}


def rows(folder: Path, pattern: str = "data/*.parquet") -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def zipped(path: Path, count: int = 6) -> Path:
    """The run's pictures under names of somebody else, in folders, among other files of the same size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(count):
            data = picture(number)
            archive.writestr(f"deep/{number}/IMG_{number:04d}.dat", data)
            archive.writestr(f"deep/{number}/decoy.png", b"\0" * len(data))
    return path


@pytest.fixture(scope="module")
def published(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dry(run, tmp_path_factory.mktemp("hydrate") / "pies")


def test_rows_name_their_pictures_and_hold_no_byte_of_them(run: Path, published: Path) -> None:
    found = rows(published)
    assert len(found) == 56
    for row in found:
        (each,) = row["pictures"]
        data = picture(next(k for k in range(6) if hashlib.sha256(picture(k)).hexdigest() == each["sha256"]))
        assert each == {
            "id": each["sha256"][:8] + ".png",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "width": 320,
            "height": 240,
            "format": "PNG",
        }
    whole = b"".join(shards(published).values())
    assert not any(picture(number)[200:400] in whole for number in range(6))


@pytest.mark.parametrize("form", ["zip", "tar", "folder", "run"])
def test_round_trip_is_byte_identical(run: Path, published: Path, tmp_path: Path, form: str) -> None:
    """Whatever the pictures lie in: the same files as if they had never been left out."""
    place = zipped(tmp_path / "pictures.zip")
    if form == "tar":
        with zipfile.ZipFile(place) as archive:
            archive.extractall(tmp_path / "unpacked")
        with tarfile.open(tmp_path / "pictures.tar.gz", "w:gz") as packed:
            packed.add(tmp_path / "unpacked", "x")
        place = tmp_path / "pictures.tar.gz"
    elif form == "folder":
        with zipfile.ZipFile(place) as archive:
            archive.extractall(tmp_path / "unpacked")
        place = tmp_path / "unpacked"
    elif form == "run":
        place = run / "pictures"
    done = hydrate(str(published), HydrateConfig(pictures=[str(place)], out=str(tmp_path / "joined")))
    assert (done.rows, done.missing, done.pictures) == ({TRAIN: 46, VALIDATION: 10}, [], 6)
    assert shards(tmp_path / "joined") == shards(embedded(run, tmp_path / "never"))


def test_without_splits_the_files_are_those_of_the_run(run: Path, tmp_path: Path) -> None:
    """Columns, pictures and bytes: the joined shard has the checksum of the run's own."""
    folder = dry(run, tmp_path / "pies", validation_share=0.0)
    hydrate(str(folder), HydrateConfig(pictures=[str(run)], out=str(tmp_path / "joined")))
    sealed = [file for file in json.loads((run / "curation.json").read_text())["files"] if "sft/" in file["path"]]
    assert [file["sha256"] for file in read_seal(tmp_path / "joined")["files"]] == [file["sha256"] for file in sealed]
    assert rows(tmp_path / "joined") == rows(run, "sft/*.parquet")


def test_row_groups_and_shards_are_cut_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a large set, with the limits a thousandth of what they are."""
    sizes = {"row_group_bytes": 30_000, "max_shard_bytes": 90_000}
    monkeypatch.setattr(TableWriter.__init__, "__kwdefaults__", TableWriter.__init__.__kwdefaults__ | sizes)
    made = curated_run(tmp_path / "run", 120, full=False)
    sealed = [file for file in json.loads((made / "curation.json").read_text())["files"] if "sft/" in file["path"]]
    assert len(sealed) > 2
    folder = dry(made, tmp_path / "pies", validation_share=0.0)
    assert sum(map(len, read_seal(folder)["splits"][TRAIN]["row_groups"])) > 6
    hydrate(str(folder), HydrateConfig(pictures=[str(made)], out=str(tmp_path / "joined")))
    assert [file["sha256"] for file in read_seal(tmp_path / "joined")["files"]] == [file["sha256"] for file in sealed]
    hydrate(str(dry(made, tmp_path / "two")), HydrateConfig(pictures=[str(made)], out=str(tmp_path / "second")))
    assert shards(tmp_path / "second") == shards(embedded(made, tmp_path / "never"))
    assert len(shards(tmp_path / "second")) > 3


def test_every_row_comes_back_as_it_was_curated(run: Path, published: Path, tmp_path: Path) -> None:
    hydrate(str(published), HydrateConfig(pictures=[str(run)], out=str(tmp_path / "joined")))
    before = {row["query_id"]: row for row in rows(run, "sft/*.parquet")}
    assert {row["query_id"]: row for row in rows(tmp_path / "joined")} == before


def test_missing_pictures_are_named_and_nothing_is_written(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = zipped(tmp_path / "some.zip", count=4)
    out = tmp_path / "joined"
    code = command.main([str(published), "--pictures", str(place), "--out", str(out)])
    said = capsys.readouterr().err
    assert code == 2
    assert "2 of 6 pictures were not found among 8 files" in said
    report = [json.loads(line) for line in (tmp_path / "joined-missing-pictures.jsonl").read_text().splitlines()]
    gone = {hashlib.sha256(picture(number)).hexdigest() for number in (4, 5)}
    assert {line["sha256"] for line in report} == gone
    assert all(sha in said for sha in gone)
    assert all(line["source"] == "folder" and line["rows"] > 0 for line in report)
    assert not out.exists()
    assert command.main([str(published), "--pictures", str(place), "--out", str(out), "--skip-missing"]) == 0
    assert f"{sum(line['rows'] for line in report)} rows left out" in capsys.readouterr().out
    kept = rows(out)
    assert len(kept) == 56 - sum(line["rows"] for line in report)
    assert all(hashlib.sha256(row["images"][0]["bytes"]).hexdigest() not in gone for row in kept)
    read_seal(out)


def test_a_picture_that_changes_between_finding_and_reading_is_refused(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    for number in range(6):
        (place / f"{number}.png").write_bytes(picture(number))
    look = joining.Finder.look

    def then_change(self: Any, where: str) -> None:
        look(self, where)
        (place / "3.png").write_bytes(b"other")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joining.Finder, "look", then_change)
        with pytest.raises(OutputError, match="changed while it was read"):
            hydrate(str(published), HydrateConfig(pictures=[str(place)], out=str(tmp_path / "joined")))
    assert not list(tmp_path.glob("joined*"))


def test_damaged_archives_are_named_and_passed_over(published: Path, tmp_path: Path) -> None:
    place = tmp_path / "pictures"
    place.mkdir()
    for name in ("broken.zip", "broken.tar.gz", "broken.parquet"):
        (place / name).write_bytes(b"PK\3\4 not really")
    zipped(place / "whole.zip")
    done = hydrate(str(published), HydrateConfig(pictures=[str(place)], out=str(tmp_path / "joined")))
    assert sorted(Path(line.split(": ")[0]).name for line in done.unreadable) == [
        "broken.parquet",
        "broken.tar.gz",
        "broken.zip",
    ]


def test_sets_that_cannot_be_joined_are_named(run: Path, published: Path, tmp_path: Path) -> None:
    asked = HydrateConfig(pictures=[str(run)], out=str(tmp_path / "joined"))
    with pytest.raises(UsageError, match="neither a folder nor ORG/NAME"):
        hydrate("no/such/folder", asked)
    with pytest.raises(UsageError, match=f"no {SEAL} there"):
        hydrate(str(run), asked)
    with pytest.raises(UsageError, match="not there; expected a folder"):
        hydrate(str(published), replace(asked, pictures=["/nowhere"]))
    with pytest.raises(UsageError, match="--pictures is missing"):
        hydrate(str(published), replace(asked, pictures=[]))
    with pytest.raises(UsageError, match="inside already"):
        hydrate(str(embedded(run, tmp_path / "inside")), asked)
    changed = dry(run, tmp_path / "changed")
    shard = next((changed / "data").iterdir())
    shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(UsageError, match="not the published file"):
        hydrate(str(changed), asked)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds other files"):
        hydrate(str(published), replace(asked, out=str(tmp_path / "mine")))
    for out in (published, published.parent, run / "joined"):
        with pytest.raises(UsageError, match="which is only read"):
            hydrate(str(published), replace(asked, out=str(out)))


# --- splits and batches --------------------------------------------------------------------------------------------


def test_no_picture_stands_in_both_splits(published: Path) -> None:
    sides = {
        split: {each["sha256"] for row in rows(published, f"data/{split}-*.parquet") for each in row["pictures"]}
        for split in (TRAIN, VALIDATION)
    }
    assert sides[TRAIN]
    assert sides[VALIDATION]
    assert not sides[TRAIN] & sides[VALIDATION]


def test_pairs_stand_on_the_side_of_their_rows(run: Path, tmp_path: Path) -> None:
    dry(run, tmp_path / "pies", include_rejected=True)
    for split in (TRAIN, VALIDATION):
        mine = {row["query_id"] for row in rows(tmp_path / "pies", f"data/{split}-*.parquet")}
        pairs = {row["query_id"] for row in rows(tmp_path / "pies-preference", f"data/{split}-*.parquet")}
        assert pairs
        assert pairs <= mine


def test_rows_that_share_a_picture_stay_together_over_any_chain() -> None:
    """Pictures a-b, b-c, c-d: one group, whatever the order; a group moves for no other group's sake."""
    dice = random.Random(1)
    pictures = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(400)]
    chains = [pictures[start : start + 4] for start in range(0, 400, 4)]
    pairs = [list(pair) for chain in chains for pair in itertools.pairwise(chain)]
    drawn = []
    for _ in range(2):
        dice.shuffle(pairs)
        splits = Splits(0.25, seed=3)
        for pair in pairs:
            splits.add(pair)
        assert all(len({splits.of([each], "") for each in chain}) == 1 for chain in chains)
        drawn.append([splits.of(chain, "") for chain in chains])
    assert drawn[0] == drawn[1]
    assert 10 <= drawn[0].count(VALIDATION) <= 40, "about a quarter of a hundred groups"
    assert Splits(0.25, seed=4).of(chains[0], "x") in (TRAIN, VALIDATION)
    assert {Splits(0.0).of([sha], "") for sha in pictures} == {TRAIN}
    assert {Splits(0.5).of([], sha) for sha in pictures} == {TRAIN, VALIDATION}


@pytest.mark.parametrize("seed", range(20))
def test_batches_are_cut_as_they_were(seed: int) -> None:
    dice = random.Random(seed)
    sizes = [dice.randint(1, 9) for _ in range(dice.randint(1, 12))]
    whole = pa.table({"n": range(sum(sizes))})

    def cut() -> Iterator[pa.Table]:
        start = 0
        while start < whole.num_rows:
            size = dice.randint(1, 7)
            yield whole.slice(start, size)
            start += size

    found = list(rebatched(cut(), sizes))
    assert [table.num_rows for table in found] == sizes
    assert pa.concat_tables(found).equals(whole)
    with pytest.raises(OutputError, match="end 1 rows early"):
        list(rebatched(cut(), [*sizes, 1]))
    if len(sizes) > 1:
        with pytest.raises(OutputError, match="more rows than"):
            list(rebatched(cut(), sizes[:-1]))
