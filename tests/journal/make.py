"""Builders: transcripts, pictures and run facts with as little to say as a test needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from engine.journal.seal import RunInfo
from engine.journal.store import Store
from engine.types import Picture, Step, Transcript

RUN = RunInfo("run-1", "f" * 64, {"seed": 0}, {"queries": "sample"}, [], True, "2026-11-21T00:00:00+00:00")


def hex_id(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def picture(name: object, size: int = 50) -> Picture:
    data = (f"{name}|".encode() * size)[:size]
    return Picture(data, hashlib.sha256(data).hexdigest(), 3, 2, "PNG")


def step(**changes: Any) -> Step:
    facts: dict[str, Any] = {
        "name": "answer",
        "attempt": 0,
        "with_pictures": True,
        "prompt_sha256": "a" * 64,
        "text": "an answer – with “typography”",
        "finish_reason": "stop",
        "prompt_tokens": 600,
        "cached_tokens": None,
        "completion_tokens": 20,
        "max_tokens": 1024,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": None,
        "label_logprobs": '{"no": -3.0, "yes": -0.05}',
        "p_harmful": 0.95,
        "verdict": "harmful",
        "seconds": 0.25,
    }
    return Step(**{**facts, **changes})


def transcript(
    name: object = "q",
    key: str = "",
    index: int = 0,
    *,
    steps: int = 2,
    pictures: Sequence[Picture] = (),
    **changes: Any,
) -> Transcript:
    facts: dict[str, Any] = {
        "run_id": "run-1",
        "query_id": hex_id(name),
        "source": "sample",
        "source_key": key or f"rows.jsonl:{index}",
        "source_index": index,
        "duplicate_keys": (),
        "split": "train",
        "category": "privacy",
        "subcategory": None,
        "label_safe": False,
        "reference": None,
        "extra": None,
        "query": f"question {name}",
        "picture_sha256": tuple(item.sha256 for item in pictures),
        "strategy": "ecso",
        "preset": "robust",
        "model": "tiny",
        "model_revision": None,
        "prompt_set_sha256": "b" * 64,
        "engine_version": "0",
        "status": "ok",
        "direct_response": "direct",
        "direct_verdict": "harmful",
        "p_harmful": 0.9,
        "caption": "a caption",
        "eyes_closed": True,
        "attempts": 1,
        "final_response": "final",
        "final_verdict": "harmless",
        "final_p_harmful": 0.01,
        "error_stage": None,
        "error_type": None,
        "error_message": None,
        "seconds": 1.5,
        "steps": tuple(step(attempt=number) for number in range(steps)),
    }
    return Transcript(**{**facts, **changes})


def failed(name: object = "q", key: str = "", index: int = 0, *, stage: str = "answer", **changes: Any) -> Transcript:
    facts = {
        "status": "error",
        "final_response": None,
        "final_verdict": "unknown",
        "error_stage": stage,
        "error_type": "RequestError",
        "error_message": "no",
        "steps": 0,
    }
    return transcript(name, key, index, **{**facts, **changes})


def sealed_rows(url: str, manifest: dict[str, Any], table: str = "transcripts") -> list[dict[str, Any]]:
    store = Store(url)
    rows: list[dict[str, Any]] = []
    for entry in manifest["files"]:
        if entry["path"].startswith(table):
            with store.open(entry["path"]) as file:
                rows += pq.read_table(file).to_pylist()
    return rows
