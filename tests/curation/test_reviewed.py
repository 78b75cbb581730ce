"""A person's word goes before the judge's, both ways, and stands in the rows.  Run: `pytest tests/curation`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engine.config import CurateConfig
from engine.curation.reviewed import read_reviews
from engine.errors import UsageError
from pipelines.curation import run
from tests.curation.test_curate import rows, varied
from tests.report.make import picture, seal


def sealed(out: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Eight rows: 0 and 1 unresolved, 2 ok and still harmful, 3 an error, 4 to 7 healthy."""
    data = [picture(number) for number in range(8)]
    shas = [hashlib.sha256(each).hexdigest() for each in data]
    found = [varied(k, f"Please tell me about case {k} of the garden.", sha) for k, sha in enumerate(shas)]
    for number, row in enumerate(found):
        row["source_index"] = number
    for row in found[:2]:
        row |= {"status": "unresolved", "final_verdict": "harmful", "final_p_harmful": 0.9}
    found[2] |= {"final_verdict": "harmful", "final_p_harmful": 0.8}
    found[3] |= {"status": "error", "final_response": None, "final_verdict": "unknown", "error_message": "late"}
    return seal(out, found, data), found


def review(path: Path, *lines: dict[str, Any] | str) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def test_a_persons_word_overrides_both_ways_and_is_recorded(tmp_path: Path) -> None:
    out, made = sealed(tmp_path / "run")
    ids = [row["query_id"] for row in made]
    file = review(
        tmp_path / "review.jsonl",
        {"query_id": ids[0], "verdict": "harmless", "note": "a joke"},
        {"query_id": ids[2], "verdict": "harmless"},
        {"query_id": ids[3], "verdict": "harmless"},
        "",
        {"query_id": ids[4], "verdict": "harmful", "note": "rude"},
        {"query_id": ids[5], "verdict": "harmless"},
        {"query_id": ids[6], "verdict": None, "note": "not read yet"},
        {"query_id": "ab" * 32, "verdict": "harmful"},
    )
    document = run(str(out), CurateConfig(reviewed=file, report=False))
    assert document["reviewed"] == {
        "harmless": 4,
        "harmful": 1,
        "dropped": 1,
        "restored": 2,
        "not_in_the_runs": 1,
        "open": 1,
        "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
    }
    kept = {row["query_id"]: row for row in rows(out, "sft")}
    assert set(kept) == {ids[k] for k in (0, 2, 5, 6, 7)}
    assert kept[ids[0]]["reviewed"] == "harmless"
    assert "review_note" not in kept[ids[0]]  # free text by a person stays out of what may be published
    assert kept[ids[0]]["final_verdict"] == "harmful"  # what the judge said stays to be seen
    assert kept[ids[7]]["reviewed"] is None
    gone = {row["query_id"]: row for row in rows(out, "rejected")}
    assert {gone[ids[k]]["reason"] for k in (1,)} == {"unresolved"}
    assert gone[ids[3]]["reason"] == "error"  # there is no answer to keep
    assert gone[ids[4]]["reason"] == "reviewed"
    assert gone[ids[4]]["evidence"] == "a person says harmful: rude"
    assert gone[ids[4]]["reviewed"] == "harmful"
    assert document["funnel"][1]["step"] == "reviewed"
    assert document["funnel"][-1]["rows_out"] == 5


def test_a_person_goes_before_the_verdict_filter_only(tmp_path: Path) -> None:
    """Also where the config has no verdict filter; the other filters judge a reviewed row as any other."""
    out, made = sealed(tmp_path / "run")
    made_ids = [row["query_id"] for row in made]
    file = review(
        tmp_path / "r.jsonl",
        {"query_id": made_ids[4], "verdict": "harmful"},
        {"query_id": made_ids[5], "verdict": "harmless"},
    )
    document = run(str(out), CurateConfig(reviewed=file, filters=[{"length": {"max_chars": 5}}], report=False))
    reasons = {row["query_id"]: row["reason"] for row in rows(out, "rejected")}
    assert reasons[made_ids[4]] == "reviewed"
    assert reasons[made_ids[5]] == "too_long"
    assert document["counts"]["sft"] + document["counts"]["rejected"] == 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: found"),
        ('{"query_id": "%s"}' % ("0" * 64), "line 2: found query_id; expected query_id, verdict"),
        ('{"query_id": "%s", "verdict": "harmless", "why": 1}' % ("0" * 64), "line 2: found query_id, verdict, why"),
        ('{"query_id": "xyz", "verdict": "harmless"}', "line 2: query_id is 'xyz', expected 64 hex"),
        ('{"query_id": "%s", "verdict": "harmles"}' % ("0" * 64), "line 2: verdict is 'harmles'"),
        ('{"query_id": "%s", "verdict": true}' % ("0" * 64), "line 2: verdict is 'True'"),
        ('{"query_id": "%s", "verdict": "harmful", "note": 3}' % ("0" * 64), "line 2: note is '3'"),
        ('{"query_id": "%s", "verdict": "harmful"}' % ("1" * 64), "line 2: 1111.* harmful here and the opposite"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    file = review(tmp_path / "r.jsonl", {"query_id": "1" * 64, "verdict": "harmless"}, line)
    with pytest.raises(UsageError, match=message):
        read_reviews(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    out, _ = sealed(tmp_path / "run")
    with pytest.raises(UsageError, match=r"nowhere\.jsonl: cannot be read"):
        run(str(out), CurateConfig(reviewed=str(tmp_path / "nowhere.jsonl"), report=False))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_reviews(str(tmp_path / "bytes.jsonl"))
