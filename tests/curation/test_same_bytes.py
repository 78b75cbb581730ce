"""The same records in the same order, whatever the shards, partitions and workers: whole curations, Ray or not."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.config import CurateConfig
from engine.curation.curate import curate
from engine.curation.gates import Gates
from engine.curation.leakage import build
from engine.curation.leakage.file import save
from pipelines import curation, dedup
from pipelines.cluster import QUIET
from tests.curation.test_curate import LONG, REFUSAL, digests, varied
from tests.report.make import picture, seal

pytestmark = pytest.mark.ray
CARD = "What is written on the secret benchmark card of the green hill?"
ON_RAY = Gates(partial(dedup.find_duplicates, inline_rows=0), dedup.hash_pictures, dedup.picture_table)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.update(QUIET)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def sealed(out: Path, shards: int) -> Path:
    """Ninety rows: every kind of duplicate, a leak, refusals over the cap, rows for every balance, pairs."""
    first = picture(1)
    copy = io.BytesIO()
    Image.open(io.BytesIO(first)).save(copy, "JPEG", quality=92)
    data = [first, copy.getvalue(), *(picture(number) for number in range(2, 12))]
    shas = [hashlib.sha256(each).hexdigest() for each in data]
    texts = [(LONG, 0), (LONG.upper() + "?", 0), (LONG.replace("village", "valley"), 0), (LONG, 1)]
    texts += [(LONG.replace("village", "town"), 1), (CARD, 3)]
    found = [varied(k, text, shas[shown], final_p_harmful=0.01) for k, (text, shown) in enumerate(texts)]
    for k in range(6, 90):
        text = f"Please tell me about {hashlib.sha256(str(k).encode()).hexdigest()[:9]} in this picture"
        changes: dict[str, Any] = {
            "category": ("pie flinging", "diary peeking", "socks")[k % 3],
            "label_safe": k % 2 == 0,
        }
        if k % 4 == 1:
            changes |= {"final_response": REFUSAL, "source": "other"}
        found.append(varied(k, text, shas[2 + k % 10], **changes))
    for number, row in enumerate(found):
        row["source_index"] = number
    return seal(out, found, data, shards)


def test_partitions_and_workers_change_no_byte(tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "q.json").write_text(json.dumps([{"question": CARD}]))
    save(build(tmp_path / "q.json", "cards"), tmp_path / "card.leak")
    config = {
        "leakage_index": [str(tmp_path / "card.leak")],
        "cap_category": {"socks": 20},
        "cap_source": {"other": 15},
        "safe_to_unsafe": 1.2,
        "max_share": 0.2,
        "least_rows": 3,
        "report": False,
    }
    found: list[tuple[Any, Any]] = []
    for shards, rows_a_part, workers in ((1, 100_000, 1), (1, 100_000, 2), (8, 12, 1), (8, 12, 2), (8, 12, 2)):
        monkeypatch.setattr(dedup, "ROWS_A_PARTITION", rows_a_part)
        monkeypatch.setattr(dedup, "ROWS_A_JOB", rows_a_part)
        monkeypatch.setattr(dedup, "PICTURES_A_JOB", 3 if rows_a_part == 12 else 2_000)
        out = tmp_path / str(shards)
        if not out.exists():
            sealed(out, shards)
        document = curate(str(out), CurateConfig(**config, workers=workers), ON_RAY)
        told = {name: document[name] for name in ("counts", "reasons", "funnel", "duplicates", "leakage", "diversity")}
        found.append((digests(out), told))
    here = sealed(tmp_path / "here", 3)
    document = curation.run(str(here), CurateConfig(**config))
    assert all(each == found[0] for each in found[1:])
    assert digests(here) == found[0][0]
    assert {f"duplicate_{kind}" for kind in ("exact", "text", "picture", "text+picture")} <= set(document["reasons"])
    assert {"leakage", "response_cap", "category_cap", "source_cap", "safe_to_unsafe"} <= set(document["reasons"])
