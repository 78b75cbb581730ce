"""Sealing: every query once, every source row accounted for, pictures once, and a manifest that adds up."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from engine.errors import OutputError, UsageError
from engine.journal.manifest import read_manifest, verify
from engine.journal.seal import seal, seal_in_process
from engine.journal.segments import JournalWriter
from engine.journal.store import Store
from schemas import check
from tests.journal import model
from tests.journal.children import output
from tests.journal.make import RUN, failed, hex_id, picture, sealed_rows, transcript
from tests.journal.test_index import write


@settings(max_examples=80, deadline=None)
@given(model.OPS)
def test_sealing_equals_the_model(ops: list[model.Op]) -> None:
    with tempfile.TemporaryDirectory() as url:
        write(url, ops)
        manifest = seal(url, run=RUN)
        expected = model.sealed(ops)
        found = [
            (row["query_id"], row["source_key"], row["status"], row["duplicate_keys"])
            for row in sealed_rows(url, manifest)
        ]
        assert found == [(hex_id(name), *rest) for name, *rest in expected]
        assert len({row[0] for row in found}) == len(found)
        # Nothing disappears: every source row that counts is a row, or a duplicate of one.
        accounted = {row[1] for row in found} | {key for row in found for key in row[3]}
        assert accounted == {op.key for _, op in model.countable(ops)}
        assert manifest["counts"]["read"] == sum(1 + len(row[3]) for row in found)
        verify(url)


def fill(url: Path, rows: int = 5, *, worker: str = "w1", pictures: int = 2) -> None:
    with JournalWriter(str(url), worker) as writer:
        for number in range(rows):
            shown = picture(number % pictures)
            writer.add_picture(shown)
            writer.append(transcript(number, index=number, pictures=[shown]))


def test_a_sealed_run_opens_and_adds_up(tmp_path: Path) -> None:
    fill(tmp_path, rows=5, pictures=2)
    with JournalWriter(str(tmp_path), "w2") as writer:
        writer.append(failed("bad", index=5))
        writer.append(transcript("open", index=6, status="unresolved"))
        writer.append_duplicate(hex_id(0), "rows.jsonl:8", 8)
        writer.append_duplicate(hex_id(0), "rows.jsonl:7", 7)
    manifest = seal(str(tmp_path), run=replace(RUN, expected=9, stats={"calls": 12}))
    assert manifest["status"] == "complete"
    assert manifest["counts"] == {
        "read": 9,
        "transcripts": 7,
        "duplicates": 2,
        "ok": 5,
        "unresolved": 1,
        "error": 1,
        "pictures": 2,
    }
    assert manifest["errors"] == {"RequestError": 1}
    assert manifest["stats"]["calls"] == 12
    rows = sealed_rows(str(tmp_path), manifest)
    assert [row["source_index"] for row in rows] == list(range(7))
    assert rows[0]["duplicate_keys"] == ["rows.jsonl:7", "rows.jsonl:8"]
    shown = sealed_rows(str(tmp_path), manifest, "pictures")
    assert [row["picture_sha256"] for row in shown] == [picture(0).sha256, picture(1).sha256]
    assert shown[0]["image"]["bytes"] == picture(0).data
    assert read_manifest(str(tmp_path)) == manifest
    check("transcript", rows[0])


def test_sealing_twice_gives_the_same_bytes_under_the_same_names(tmp_path: Path) -> None:
    fill(tmp_path)
    first = seal(str(tmp_path), run=RUN)
    second = seal(str(tmp_path), run=RUN)
    assert first["files"] == second["files"]
    verify(str(tmp_path))


def test_sealing_again_takes_in_new_rows_and_drops_the_old_shards(tmp_path: Path) -> None:
    fill(tmp_path)
    old = seal(str(tmp_path), run=RUN)
    fill(tmp_path, rows=9, worker="w2", pictures=3)
    (tmp_path / "transcripts/.shard-dead.tmp").write_bytes(b"left by a killed seal")
    new = seal(str(tmp_path), run=RUN)
    assert new["counts"]["transcripts"] == 9
    assert not {entry["path"] for entry in old["files"]} & {entry["path"] for entry in new["files"]}
    left = Store(tmp_path).list("transcripts") + Store(tmp_path).list("pictures")
    assert left == [entry["path"] for entry in new["files"]]
    verify(str(tmp_path))


def test_a_repaired_source_row_leaves_no_old_error(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w1") as writer:
        writer.append(failed("unreadable", "file:3", 3, stage="source"))
        writer.append(transcript("readable", "file:3", 3))
    manifest = seal(str(tmp_path), run=replace(RUN, expected=1))
    assert [row["query_id"] for row in sealed_rows(str(tmp_path), manifest)] == [hex_id("readable")]
    assert manifest["status"] == "complete"
    assert manifest["stats"]["journal"]["superseded"] == 1


def test_two_answers_to_one_question_keep_the_first_row_of_the_source(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "a") as one, JournalWriter(str(tmp_path), "b") as two:
        one.append(transcript("same", "file:9", 9, final_response="nine"))
        two.append(transcript("same", "file:2", 2, final_response="two"))
    (row,) = sealed_rows(str(tmp_path), seal(str(tmp_path), run=RUN))
    assert (row["final_response"], row["source_key"], row["duplicate_keys"]) == ("two", "file:2", ["file:9"])


def test_an_empty_run_is_legal(tmp_path: Path) -> None:
    manifest = seal(str(tmp_path), run=replace(RUN, expected=0))
    assert manifest["status"] == "complete"
    assert [entry["rows"] for entry in manifest["files"]] == [0, 0]
    assert sealed_rows(str(tmp_path), manifest) == []
    verify(str(tmp_path))


def test_a_missing_picture_is_an_error_and_touches_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    old = seal(str(tmp_path), run=RUN)
    with JournalWriter(str(tmp_path), "w2") as writer:
        writer.append(transcript("no picture", index=50, pictures=[picture("never added")]))
    with pytest.raises(OutputError, match="no journal segment holds it"):
        seal(str(tmp_path), run=RUN)
    assert read_manifest(str(tmp_path)) == old
    verify(str(tmp_path))
    assert len(Store(tmp_path).list("transcripts")) == 1


def test_a_damaged_picture_is_taken_from_another_worker(tmp_path: Path) -> None:
    fill(tmp_path, rows=1, worker="a")
    fill(tmp_path, rows=1, worker="b")
    path = tmp_path / "journal/a.pictures"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    manifest = seal(str(tmp_path), run=RUN)
    assert manifest["counts"]["pictures"] == 1
    assert manifest["stats"]["journal"]["damaged_bytes"] == len(data)


@pytest.mark.parametrize(
    ("complete", "expected", "status"),
    [
        (None, 5, "complete"),
        (None, 6, "partial"),
        (None, None, "partial"),
        (False, 5, "partial"),
        (True, 5, "complete"),
    ],
)
def test_complete_is_what_the_numbers_say(tmp_path: Path, complete: bool, expected: int, status: str) -> None:
    fill(tmp_path, rows=5)
    assert seal(str(tmp_path), run=replace(RUN, expected=expected), complete=complete)["status"] == status


def test_complete_cannot_be_claimed_against_the_numbers(tmp_path: Path) -> None:
    fill(tmp_path, rows=5)
    with pytest.raises(OutputError, match="6 source rows were planned, but 5 transcripts"):
        seal(str(tmp_path), run=replace(RUN, expected=6), complete=True)
    assert read_manifest(str(tmp_path)) is None


def test_a_run_with_a_target_says_itself_when_it_is_complete(tmp_path: Path) -> None:
    fill(tmp_path, rows=5)
    assert seal(str(tmp_path), run=RUN, complete=True)["status"] == "complete"


def test_a_run_of_many_segments_does_not_run_out_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.journal.bodies.OPEN_FILES", 2)
    for number in range(7):
        with JournalWriter(str(tmp_path), f"w{number}") as writer:
            for row in range(3):
                index = row * 7 + number
                writer.append(transcript(index, index=index))
    before = len(os.listdir("/proc/self/fd"))
    manifest = seal(str(tmp_path), run=RUN)
    assert manifest["counts"]["transcripts"] == 21
    assert len(os.listdir("/proc/self/fd")) <= before


# --- verify and read_manifest --------------------------------------------------------------------------------------


def damage_bytes(folder: Path, entry: dict[str, Any]) -> None:
    path = folder / entry["path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(folder: Path, entry: dict[str, Any]) -> None:
    (folder / entry["path"]).unlink()


@pytest.mark.parametrize(("harm", "message"), [(damage_bytes, "sha256 is"), (remove, "but missing")])
def test_verify_finds_harm(tmp_path: Path, harm: Any, message: str) -> None:
    fill(tmp_path)
    harm(tmp_path, seal(str(tmp_path), run=RUN)["files"][0])
    with pytest.raises(OutputError, match=message):
        verify(str(tmp_path))


def test_verify_counts(tmp_path: Path) -> None:
    fill(tmp_path)
    manifest = seal(str(tmp_path), run=RUN)
    manifest["counts"]["transcripts"] = 6
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(OutputError, match="5 rows in transcripts/, the manifest counts 6"):
        verify(str(tmp_path))


def test_verify_wants_a_sealed_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not sealed"):
        verify(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"), [('{"kind": "gen', "no JSON"), ('{"kind": "train"}', "required property")]
)
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_manifest(str(tmp_path))


def test_sealing_heals_a_damaged_manifest(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    seal(str(tmp_path), run=RUN)
    verify(str(tmp_path))


# --- in a process of its own ---------------------------------------------------------------------------------------


def test_sealing_in_a_process_of_its_own(tmp_path: Path) -> None:
    fill(tmp_path)
    manifest = seal_in_process(str(tmp_path), run=replace(RUN, expected=5))
    assert manifest == read_manifest(str(tmp_path))
    assert manifest["status"] == "complete"


def test_its_errors_come_back_as_themselves(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(OutputError, match="7 source rows were planned"):
        seal_in_process(str(tmp_path), run=replace(RUN, expected=7), complete=True)


def test_a_seal_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(OutputError, match="ended early"):
        seal_in_process(str(tmp_path), run=RUN, timeout_s=0.01)


LIMIT = """
import resource, sys
from engine.errors import OutputError
from engine.journal.seal import seal
from tests.journal.make import RUN
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    seal(sys.argv[1], run=RUN)
except OutputError as error:
    print(error)
"""


@pytest.mark.kill
@pytest.mark.parametrize("limit", [0, 100, 5_000])
def test_a_full_disk_leaves_the_old_seal(tmp_path: Path, limit: int) -> None:
    fill(tmp_path)
    old = seal(str(tmp_path), run=RUN)
    fill(tmp_path, rows=400, worker="w2", pictures=3)
    assert "no space left" in output(LIMIT, str(tmp_path), str(limit))
    assert read_manifest(str(tmp_path)) == old
    verify(str(tmp_path))
    assert len(Store(tmp_path).list("transcripts")) == 1
    assert seal(str(tmp_path), run=RUN)["counts"]["transcripts"] == 400
