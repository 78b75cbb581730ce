"""Semantic duplicates and oversized clusters, through curate.  Run: `pytest tests/curation/dedup`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.config import CurateConfig
from engine.curation import gates
from engine.curation.annotations import read
from engine.errors import UsageError
from engine.journal.manifest import read_manifest
from engine.journal.store import Store
from engine.judges import imported
from engine.judges.files import run_ids
from pipelines.curation import run
from tests.curation.test_curate import rows, varied
from tests.report.make import picture, seal

TEXTS = {
    "steep": ("How long should the green tea steep in the pot?", [1.0, 0.0, 0.02]),
    "brew": ("For how many minutes do I let my tea brew?", [1.0, 0.01, 0.0]),  # the same in other words
    "fold": ("Which way is the best to fold a paper boat?", [0.0, 1.0, 0.0]),
    "none": ("What is the name of the street behind the mill?", None),  # no vector
    "far": ("How long does the train take to the old harbour?", [0.7, 0.7, 0.0]),
}


def sealed(out: Path, **changes: Any) -> tuple[Path, dict[tuple[str, int], str]]:
    """Every text on two pictures; (text's name, picture) -> query id."""
    data = [picture(1), picture(2)]
    shas = [hashlib.sha256(each).hexdigest() for each in data]
    made, ids = [], {}
    for number, (name, (text, _)) in enumerate(TEXTS.items()):
        for shown, sha in enumerate(shas):
            if name == "brew" and shown == 1:
                continue  # its like on the other picture has no duplicate there
            row = varied(10 * number + shown, text, sha, final_p_harmful=0.01)
            row["source_index"] = len(made)
            made.append(row)
            ids[name, shown] = row["query_id"]
    return seal(out, made, data, **changes), ids


def bring_in(out: Path, ids: dict[tuple[str, int], str], name: str = "embedding", width: int = 3) -> None:
    """Vectors made elsewhere, as `annotate --judge NAME=FILE` brings them in."""
    vectors = [
        {"query_id": query_id, "embedding": TEXTS[text][1][:width]}
        for (text, _), query_id in ids.items()
        if TEXTS[text][1] is not None
    ]
    file = out.parent / f"{out.name}-{name}.parquet"
    pq.write_table(pa.Table.from_pylist(vectors), file)
    store = Store(str(out))
    manifest = read_manifest(str(out))
    assert manifest is not None
    key = imported.key_of(name, str(file), None)
    imported.bring_in(store, key, str(file), run_ids(store, manifest))
    assert [found.judge for found in read(store, manifest).keys] == [name]


def test_meaning_and_pictures_must_both_agree(tmp_path: Path) -> None:
    out, ids = sealed(tmp_path / "run")
    bring_in(out, ids)
    document = run(str(out), CurateConfig(dedup={"semantic": 0.95}, report=False))
    (gone,) = rows(out, "rejected")
    assert gone["query_id"] == ids["brew", 0]
    assert gone["reason"] == "duplicate_semantic"
    assert ids["steep", 0][:16] in gone["evidence"]
    assert document["duplicates"]["semantic"] == 1
    plain = run(str(out), CurateConfig(report=False))
    assert plain["reasons"] == {}  # without the option, vectors change nothing


def test_vectors_by_another_name(tmp_path: Path) -> None:
    out, ids = sealed(tmp_path / "run")
    bring_in(out, ids, "vowels")
    # A judge of another name brings vectors of the final response unless told otherwise, and those are not compared.
    with pytest.raises(UsageError, match="no annotations of judge vowels"):
        run(str(out), CurateConfig(dedup={"semantic": 0.95, "embedding": "vowels"}, report=False))


def test_vectors_that_are_not_there_or_do_not_fit(tmp_path: Path) -> None:
    out, ids = sealed(tmp_path / "run")
    with pytest.raises(UsageError, match="no annotations of judge embedding"):
        run(str(out), CurateConfig(dedup={"semantic": 0.95}, report=False))
    assert not (out / "rejected").exists() or not list((out / "rejected").iterdir())
    bring_in(out, ids)
    other, more = sealed(tmp_path / "other", run_id="run-2")
    bring_in(other, more, width=2)
    config = CurateConfig(dedup={"semantic": 0.95}, out=str(tmp_path / "both"), report=False)
    with pytest.raises(UsageError, match="vectors of different models"):
        run([str(out), str(other)], config)


def test_one_row_must_not_stand_for_half_of_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "LEAST_CLUSTER", 3)
    data = picture(1)
    sha = hashlib.sha256(data).hexdigest()
    made = [varied(k, f"Describe the garden{'!' * k}", sha, query_id=f"{k:064x}") for k in range(7)]
    made += [varied(k, f"Who built bench number {k} over there?", sha) for k in range(7, 10)]
    out = seal(tmp_path / "run", made, [data])
    with pytest.raises(UsageError, match=r"6 of 10 rows repeat one row, 0{63}2.*dedup\.max_cluster above 0\.60"):
        run(str(out), CurateConfig(report=False))
    assert not (out / "curation.json").exists()
    assert not list(out.glob("*/*rejected*"))
    document = run(str(out), CurateConfig(dedup={"max_cluster": 0.7}, report=False))
    assert document["reasons"] == {"duplicate_exact": 6}
    with pytest.raises(UsageError, match="max_cluster is 0"):
        run(str(out), CurateConfig(dedup={"max_cluster": 0}, report=False))
