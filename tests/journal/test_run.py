"""run.json: begin, resume, refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.journal.run import RunState, open_run
from engine.journal.seal import RunInfo, seal
from engine.journal.segments import JournalWriter
from tests.journal.make import transcript

FIELDS: dict[str, Any] = {"model": "tiny", "seed": 0, "sampling": {"max_tokens": 64, "temperature": 0.0}}


def begin(url: Path, fields: dict[str, Any] | None = None, **arguments: Any) -> RunState:
    fingerprint = "a" * 64 if fields is None else "b" * 64
    return open_run(str(url), fingerprint, fields or FIELDS, lambda: "run-1", **arguments)


def finish(url: Path, expected: int | None = None) -> None:
    with JournalWriter(str(url), "w") as writer:
        writer.append(transcript())
    run = RunInfo("run-1", "a" * 64, FIELDS, {}, [], True, "2026-11-21T00:00:00+00:00", expected=expected)
    seal(str(url), run=run)


def test_a_new_folder_begins_a_run_and_the_same_settings_resume_it(tmp_path: Path) -> None:
    first = begin(tmp_path / "new/deep")
    assert (first.run_id, first.resumed, first.manifest) == ("run-1", False, None)
    again = open_run(str(tmp_path / "new/deep"), "a" * 64, FIELDS, lambda: "run-2")
    assert (again.run_id, again.resumed, again.started_at) == ("run-1", True, first.started_at)
    assert begin(tmp_path / "new/deep", resume="always").resumed


def test_other_settings_are_refused_field_by_field(tmp_path: Path) -> None:
    begin(tmp_path)
    other = {"model": "tiny", "seed": 1, "sampling": {"max_tokens": 128, "temperature": 0.0}, "calibration": None}
    with pytest.raises(UsageError) as caught:
        begin(tmp_path, other)
    lines = str(caught.value).splitlines()
    assert lines[1:4] == [
        "  calibration: (absent) -> null",
        "  sampling.max_tokens: 64 -> 128",
        "  seed: 0 -> 1",
    ]
    assert "another --out" in lines[-1]
    assert begin(tmp_path).resumed


def test_another_sources_rows_are_refused_and_moved_or_mended_ones_are_not(tmp_path: Path) -> None:
    def of(path: str, digest: str | None) -> dict[str, str | None]:
        return {"source": "folder", "path": path, "index_sha256": digest}

    begin(tmp_path / "out", source=of("/a", "1"))
    assert begin(tmp_path / "out", source=of("/b", "1")).note is None
    changed = begin(tmp_path / "out", source=of("/a", "2"))
    assert changed.resumed
    assert str(changed.note).startswith("/a has changed since this run began")
    for other in (of("/b", "2"), of("/b", None)):
        with pytest.raises(UsageError, match=r"holds the rows of /a.*those of /b; choose another --out"):
            begin(tmp_path / "out", source=other)


def test_equal_fields_under_another_fingerprint_are_explained(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(UsageError, match="another version of the engine"):
        begin(tmp_path, dict(FIELDS))


def test_never_refuses_a_folder_with_a_run(tmp_path: Path) -> None:
    begin(tmp_path, resume="never")
    with pytest.raises(UsageError, match="already holds run run-1"):
        begin(tmp_path, resume="never")


def test_always_wants_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run to resume"):
        begin(tmp_path, resume="always")
    assert not (tmp_path / "journal/run.json").exists()


def test_a_sealed_run_comes_with_its_manifest(tmp_path: Path) -> None:
    begin(tmp_path)
    finish(tmp_path, expected=1)
    found = begin(tmp_path).manifest
    assert found is not None
    assert found["status"] == "complete"


def test_a_complete_run_is_known_without_its_journal_a_partial_one_is_lost(tmp_path: Path) -> None:
    for name, expected in (("whole", 1), ("part", 2)):
        begin(tmp_path / name)
        finish(tmp_path / name, expected=expected)
        for path in (tmp_path / name / "journal").iterdir():
            path.unlink()
    assert begin(tmp_path / "whole").run_id == "run-1"
    with pytest.raises(UsageError, match="journal is gone"):
        begin(tmp_path / "part")


def test_a_journal_of_nobody_is_refused(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w") as writer:
        writer.append(transcript())
    with pytest.raises(UsageError, match=r"no run\.json"):
        begin(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"run_id": "x"}'])
def test_a_damaged_run_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal/run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json: damaged"):
        begin(tmp_path)
