"""Curation as a whole: what is read is kept or rejected, the same whatever the cut, and bad runs are named."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from engine.config import CurateConfig
from engine.curation.leakage import build
from engine.curation.leakage.file import save
from engine.errors import UsageError
from pipelines.curation import run
from tests.report.make import picture, seal, transcript

REFUSAL = "I'm sorry, but I cannot help with pie flinging."


def rows(out: Path, table: str) -> list[dict[str, Any]]:
    files = json.loads((out / "curation.json").read_text())["files"]
    found = [pq.read_table(out / file["path"]) for file in files if file["path"].startswith(table)]
    return pa.concat_tables(found).to_pylist() if found else []


def varied(number: int, text: str, sha: str, **changes: Any) -> dict[str, Any]:
    """A transcript with an answer of its own, so that no cap and no filter takes it."""
    words = hashlib.sha256(str(number).encode()).hexdigest()
    answer = f"Begin with {words[:6]} and {words[6:12]}, then go on to {words[12:18]} for a while."
    row = transcript(2 * number + 1, text, sha, **{"final_response": answer, "direct_response": answer, **changes})
    row["query_id"] = changes.get("query_id") or hashlib.sha256(f"{text}{sha}".encode()).hexdigest()
    return row


def planted(out: Path, **changes: Any) -> Path:
    """One clean row a picture, and one planted case of every late step."""
    pictures = [picture(number) for number in range(12)]
    shas = [hashlib.sha256(data).hexdigest() for data in pictures]
    found = [
        varied(k, f"Please tell me about case {k} of the garden in this picture today.", sha, label_safe=None)
        for k, sha in enumerate(shas)
    ]
    found.append(varied(20, "please tell me about CASE 3 of the garden in this picture today", shas[3]))
    found.append(varied(21, "Please tell me about case 3 of the garden in this picture today.", shas[4]))
    found.append(varied(22, "What is written on the secret benchmark card of the green hill?", shas[5]))
    found.append(varied(23, "How do I do what the picture shows?", shas[6], label_safe=False, final_response=REFUSAL))
    found.append(varied(24, "What colours are here?", shas[6], label_safe=True))
    found.append(varied(25, "N/A", shas[7]))
    found.append(varied(26, "Is it nice there?", shas[8], duplicate_keys=["queries.json:99"]))
    for number, row in enumerate(found):
        row["source_index"] = number
    sealed = seal(out, found, pictures, **changes)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["counts"] |= {"read": len(found) + 1, "duplicates": 1}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return sealed


def test_planted_cases_and_the_funnel(tmp_path: Path) -> None:
    out, index = planted(tmp_path / "run"), tmp_path / "card.json"
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "q.json").write_text(
        json.dumps([{"question": "What is written on the secret benchmark card of the green hill?"}])
    )
    save(build(tmp_path / "bench", "cards"), index)
    document = run(str(out), CurateConfig(leakage_index=[str(index)], report=False))
    assert document["reasons"] == {"duplicate_query": 1, "placeholder_query": 1, "duplicate_exact": 1, "leakage": 1}
    assert document["counts"]["sft"] + document["counts"]["rejected"] == document["counts"]["read"] == 20
    lines = document["funnel"]
    assert all(a["rows_out"] == b["rows_in"] for a, b in itertools.pairwise(lines))
    assert all(line["rows_in"] - line["dropped"] == line["rows_out"] for line in lines)
    for line in lines:
        for per in ("per_category", "per_source"):
            assert [sum(column) for column in zip(*line[per].values(), strict=True)] == [
                line["rows_in"],
                line["rows_out"],
            ]
    assert lines[-1]["rows_out"] == document["counts"]["sft"] == len(rows(out, "sft"))
    assert document["leakage"]["matched"] == 1
    assert {row["reason"] for row in rows(out, "rejected")} == set(document["reasons"])
    assert all(row["evidence"] for row in rows(out, "rejected"))


LONG = (
    "In the garden behind the old house there is a small pond with seven stones around it and a wooden bench "
    "under the tall tree and I would like to know how the bench was made by the people of the village"
)


def test_every_kind_of_duplicate(tmp_path: Path) -> None:
    """Pictures and text must both agree, each exactly or nearly."""
    first, second = picture(1), picture(2)
    copy = io.BytesIO()
    Image.open(io.BytesIO(first)).save(copy, "JPEG", quality=92)
    data = [first, second, copy.getvalue()]
    one, two, copied = (hashlib.sha256(each).hexdigest() for each in data)
    texts = [
        (LONG, one, None),
        (LONG.upper() + "?", one, "duplicate_exact"),
        (LONG.replace("village", "valley"), one, "duplicate_text"),
        (LONG, copied, "duplicate_picture"),
        (LONG.replace("village", "town"), copied, "duplicate_text+picture"),
        (LONG, two, None),  # the same text on another picture
        ("Who sat on the bench yesterday?", one, None),  # another text on the same picture
    ]
    found = [varied(k, text, sha, final_p_harmful=0.01) for k, (text, sha, _) in enumerate(texts)]
    out = seal(tmp_path / "run", found, data)
    document = run(str(out), CurateConfig(report=False))
    reasons = {row["query_id"]: row["reason"] for row in rows(out, "rejected")}
    assert [reasons.get(row["query_id"]) for row in found] == [reason for *_, reason in texts]
    (cluster,) = document["duplicates"]["clusters"]
    assert (cluster["kept"], cluster["size"]) == (found[0]["query_id"], 4)


def test_the_cue_audit_before_and_after_counterfactuals(tmp_path: Path) -> None:
    """Each original's opener tells its label; with the reworded ones beside them it tells nothing."""
    data = [picture(number) for number in range(2)]
    found = []
    for number in range(80):
        refused, swapped = number % 2 == 0, number >= 40
        opener = "Can you give me a plan for" if refused != swapped else "What are the steps for"
        changes: dict[str, Any] = {"extra": json.dumps({"counterfactual_of": "0" * 64})} if swapped else {}
        if refused:
            changes["final_response"] = f"I'm sorry, but I cannot help with {hashlib.md5(b'%d' % number).hexdigest()}."
        sha = hashlib.sha256(data[number % 2]).hexdigest()
        text = f"{opener} {hashlib.sha256(b'%d' % (number % 40)).hexdigest()[:9]}?"
        found.append(varied(number, text, sha, label_safe=not refused, **changes))
    out = seal(tmp_path / "run", found, data)
    document = run(str(out), CurateConfig(report=True))
    assert document["counts"]["sft"] == 80, document["reasons"]
    before, after = (document["cues"][when] for when in ("before", "after"))
    assert (before["n"], after["n"]) == (40, 80)
    assert before["auc"] > 0.95 > 0.65 > after["auc"]
    assert "without the counterfactual queries of this set" in (out / "report.html").read_text()


def test_contrast_pairs_and_mirror_pairs(tmp_path: Path) -> None:
    out = planted(tmp_path / "run")
    run(str(out), CurateConfig(report=False))
    by_text = {row["query"]: row for row in rows(out, "sft")}
    unsafe, safe = by_text["How do I do what the picture shows?"], by_text["What colours are here?"]
    assert unsafe["contrast_pair"] == safe["query_id"]
    assert safe["contrast_pair"] == unsafe["query_id"]
    assert unsafe["refusal"]
    assert not safe["refusal"]
    (pair,) = (row for row in rows(out, "preference") if row["kind"] == "over_refusal")
    assert pair["chosen"][0]["content"][0]["text"] == safe["response"]
    assert pair["rejected"][0]["content"][0]["text"] == REFUSAL


def test_leakage_can_be_marked(tmp_path: Path) -> None:
    out, index = planted(tmp_path / "run"), tmp_path / "card.json"
    (tmp_path / "q.json").write_text(
        json.dumps([{"question": "What is written on the secret benchmark card of the green hill?"}])
    )
    save(build(tmp_path / "q.json", "cards"), index)
    document = run(str(out), CurateConfig(leakage="mark", leakage_index=[str(index)], report=False))
    assert document["leakage"]["matched"] == 1
    (marked,) = (row for row in rows(out, "sft") if row["leaked_from"])
    assert "cards" in marked["leaked_from"]
    assert "leakage" not in document["reasons"]


def digests(out: Path) -> list[tuple[str, str]]:
    """(table, sha256) of every shard, in order: the names hold the identity of the run's own files."""
    files = json.loads((out / "curation.json").read_text())["files"]
    return [(file["path"].partition("/")[0], file["sha256"]) for file in files]


def test_the_same_bytes_twice_and_with_other_shards_and_workers(tmp_path: Path) -> None:
    found = []
    for shards, workers in ((1, 1), (8, 2)):
        out = planted(tmp_path / f"{shards}", shards=shards)
        for _ in range(2):
            run(str(out), CurateConfig(workers=workers, report=False))
            found.append(digests(out))
        assert len(list((out / "transcripts").iterdir())) == shards
        assert len(list((out / "sft").iterdir())) == 1  # the first curation's shards are gone
    assert found[0] == found[1] == found[2] == found[3]


def test_a_repeated_response_is_capped_and_spread_over_categories(tmp_path: Path) -> None:
    data = picture(1)
    sha = hashlib.sha256(data).hexdigest()
    names = ["pie flinging", "diary peeking", "sock theft"]
    found = []
    for k in range(90):
        text = f"Question {k} {hashlib.sha256(str(k).encode()).hexdigest()[:8]} about {names[k % 3]}?"
        answer = f"I'm sorry, but I cannot help with {names[k % 3]}." if k < 60 else None
        changes = {"final_response": answer, "category": names[k % 3], "label_safe": False} if answer else {}
        found.append(varied(100 + k, text, sha, **changes))
    out = seal(tmp_path / "run", found, [data])
    document = run(str(out), CurateConfig(max_share=0.25, least_rows=3, report=False))
    kept = [row for row in rows(out, "sft") if row["refusal"]]
    total = document["counts"]["sft"]
    assert len(kept) <= 0.25 * total < 0.25 + len(kept) + 1  # one more of the cluster would be over a quarter
    shares = [sum(row["category"] == name for row in kept) for name in names]
    assert max(shares) - min(shares) <= 1
    assert document["diversity"]["capped"] == 60 - len(kept)
    (cluster,) = document["diversity"]["clusters"]
    assert (cluster["size"], cluster["kept"]) == (60, len(kept))


def test_several_runs_need_a_folder_and_meet_in_it(tmp_path: Path) -> None:
    first, second = planted(tmp_path / "a"), planted(tmp_path / "b", run_id="run-2")
    with pytest.raises(UsageError, match="--out"):
        run([str(first), str(second)], CurateConfig(report=False))
    both = run([str(first), str(second)], CurateConfig(out=str(tmp_path / "both"), report=False))
    once = run(str(first), CurateConfig(report=False))
    assert both["counts"]["read"] == 2 * once["counts"]["read"]
    assert both["counts"]["sft"] == once["counts"]["sft"]
    with pytest.raises(UsageError, match="give it once"):
        run([str(first), str(first)], CurateConfig(out=str(tmp_path / "twice"), report=False))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"filters": ["verdikt"]}, "did you mean verdict"),
        ({"filters": [{"length": {"leest": 3}}]}, "leest"),
        ({"filters": ["verdict", "verdict"]}, "twice"),
        ({"dedup": {"treshold": 0.5}}, "did you mean threshold"),
        ({"dedup": {"threshold": 2.0}}, "threshold"),
        ({"leakage_index": ["nowhere.json"]}, "nowhere.json"),
        ({"annotations": ["harm"]}, "no annotations of judge harm"),
    ],
)
def test_bad_configs_are_named(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    out = planted(tmp_path / "run")
    with pytest.raises(UsageError, match=message):
        run(str(out), CurateConfig(**config, report=False))
    assert not (out / "curation.json").exists()


def test_bad_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a sealed run"):
        run(str(tmp_path), CurateConfig())
    partial = planted(tmp_path / "partial", status="partial")
    with pytest.raises(UsageError, match="allow-partial"):
        run(str(partial), CurateConfig(report=False))
    changed = planted(tmp_path / "changed")
    (shard,) = (changed / "transcripts").iterdir()
    shard.write_bytes(shard.read_bytes() + b"x")
    with pytest.raises(UsageError, match="the manifest says"):
        run(str(changed), CurateConfig(report=False))
    shard.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        run(str(changed), CurateConfig(report=False))
    old = planted(tmp_path / "old", schema_version=2)
    with pytest.raises(UsageError, match="schema version"):
        run(str(old), CurateConfig(report=False))
    good = planted(tmp_path / "good", run_id="run-2")
    with pytest.raises(UsageError, match=r"old: sealed with schema version 2, this engine reads"):
        run([str(good), str(old)], CurateConfig(out=str(tmp_path / "mixed"), report=False))
    assert not (tmp_path / "mixed").exists()
