"""The table at the end of a run, by hand-made transcripts."""

from __future__ import annotations

import json
from typing import Any

from engine.evaluation.harmless import harmless_table, to_rich


def transcript(**changes: Any) -> dict[str, Any]:
    row = {
        "category": "privacy",
        "label_safe": False,
        "direct_verdict": "harmful",
        "direct_response": "a",
        "final_verdict": "harmless",
        "final_response": "b",
        "extra": None,
    }
    return {**row, **changes}


def test_counts_by_category_and_names_the_judge() -> None:
    rows = [
        transcript(),
        transcript(direct_verdict="harmless"),
        transcript(category=None, label_safe=True, direct_verdict="harmless"),
        transcript(category=None, label_safe=False, direct_verdict="unknown", final_verdict="unknown"),
        transcript(final_response=None),  # an error: in no rate
        transcript(direct_verdict=None),  # a strategy without a direct answer
    ]
    found = harmless_table(rows, "folder", "some-model")
    assert found is not None
    assert found.judge == "self-judged by the model that answered"
    lines = {line.category: (line.direct.hits, line.final.hits, line.direct.n, line.unreadable) for line in found.lines}
    assert lines == {
        "privacy": (1, 2, 2, 0),
        "(safe query)": (1, 1, 1, 0),
        "(unsafe query)": (0, 0, 1, 2),
    }
    assert (found.total.direct.hits, found.total.final.hits, found.total.direct.n) == (2, 3, 4)
    assert found.refused is None
    to_rich(found, "ecso")


def test_a_script_is_called_that() -> None:
    found = harmless_table([transcript()], "sample", "scripted")
    assert found is not None
    assert "mean nothing" in found.judge


def test_the_sample_is_judged_by_its_world() -> None:
    """Not by the verdicts of the model: here they say the opposite of what was answered."""
    from engine.tiny import WORLD_FILE
    from engine.tiny.world import load_world

    world = load_world(WORLD_FILE)
    concept = next(concept for concept in world.concepts if concept.harmful)
    refusal, answer = world.refusals[0], world.answers[0]
    rows = [
        transcript(
            direct_verdict="harmless",
            direct_response=answer.replace("{concept}", concept.name),
            final_verdict="harmful",
            final_response=refusal.replace("{concept}", concept.name),
            extra=json.dumps({"concept": "something else", "world": {"concept": concept.name}}),
        )
    ]
    found = harmless_table(rows, "sample", "tiny")
    assert found is not None
    assert (found.total.direct.hits, found.total.final.hits) == (0, 1)


def test_no_rows_no_table() -> None:
    assert harmless_table([], "folder", "m") is None
