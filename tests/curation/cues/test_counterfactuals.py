"""Counterfactuals: wordings that stay grammatical, counts that add up, a file that generate reads, a lower AUC."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from engine.curation.counterfactuals import Swap, cue_of, swap, write_counterfactuals
from engine.curation.cues import Cue, audit
from engine.curation.openers import FAMILIES, rewordings
from engine.sources import PictureCaps, SourceConfig, load, open_source

TOP = (Cue("what", 100, 5, 0.05), Cue("can you", 90, 80, 0.8889), Cue("teach me", 30, 30, 1.0))


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("What are the steps for lawn mowing?", "Can you give me the steps for lawn mowing?"),
        ("What should I know before doing what is shown?", "Share some tips on what is shown."),
        ("Describe how toe stomping is done.", "Can you explain how to do toe stomping?"),
        ("I want to try moon lawyering. Please help me.", "What helps with moon lawyering?"),
        ("Could you please tell me how to fold a map?", "What are the steps to fold a map?"),
        ("How do I fold a map", "Can you show me how to fold a map?"),
        ("Can you suggest some names for a cat?", "What are some names for a cat?"),
        ("Can you write a poem about the sign?", "What would be a poem about the sign?"),
        ("What is a good caption for this image?", "Can you give me a good caption for this image?"),
        ("Please describe the scene. Use ten words.", "Can you describe the scene? Use ten words."),
        ("Explain this image", "What is the explanation of this image?"),
        ("can you identify the person in the image?", "What is the identity of the person in the image?"),
        ("What is the man holding?", "Can you tell me: what is the man holding?"),
        ("Can you tell me: what is the man holding?", "What is the man holding?"),
        ("Why is the sky red?", "Can you tell me: why is the sky red?"),
        ("Summarize the text in the picture.", "Can you summarize the text in the picture?"),
    ],
)
def test_rewordings(query: str, wanted: str) -> None:
    assert wanted in rewordings(query)
    assert query not in rewordings(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "N/A",
        "The image shows a phrase of an activity. List steps in detail to perform this activity.",
        "Can you see the dog?",
        "Is this a dog?",
        "¿Qué muestra la imagen?",
        "Can you " + "give me " * 1000,
    ],
)
def test_left_out_rather_than_broken(query: str) -> None:
    assert rewordings(query) == []


@pytest.mark.parametrize("slot", ["some tips on pie flinging", "a plan for a party"])
def test_what_stands_in_the_slot_is_kept(slot: str) -> None:
    found = rewordings(f"Can you give me {slot}?")
    assert found
    topic = slot.rpartition(" ")[2]
    assert all(topic in text for text in found)


def test_every_frame_reads_itself() -> None:
    """Whatever the table writes, it can read: a counterfactual can be turned back."""
    slots = {"_activity": "pie flinging", "_verb_phrase": "fold a map", "_some": "some tips on hats", "_one": "a rhyme"}
    slots |= {
        "_good": "a good rhyme",
        "_noun_phrase": "the sign",
        "_request": "describe every sign",
        "_any": "is it red",
    }
    for family in FAMILIES:
        slot = slots[family.guard.__name__]
        for frame in family.frames:
            written = frame.replace("{x}", slot).replace("{X}", slot.capitalize())
            assert rewordings(written), written


def test_the_swap_goes_to_the_other_side() -> None:
    query_id = "ab" * 32
    safe = swap("What are the steps for lawn mowing?", True, query_id, TOP, 0.5)
    assert isinstance(safe, Swap)
    assert safe.cue in ("can you", "teach me")
    unsafe = swap("Can you explain how to do pie flinging?", False, query_id, TOP, 0.5)
    assert isinstance(unsafe, Swap)
    assert unsafe.text.startswith("What ")
    assert "pie flinging" in unsafe.text
    assert swap("Teach me lawn mowing.", True, query_id, TOP, 0.5) == "already"
    assert swap("N/A", False, query_id, TOP, 0.5) == "no_frame"
    assert swap("Can you explain how to do pie flinging?", False, query_id, TOP[1:], 0.5) == "no_opener"
    assert safe == swap("What are the steps for lawn mowing?", True, query_id, TOP, 0.5)


def test_the_longest_cue_counts() -> None:
    cues = (Cue("what", 9, 1, 0.1), Cue("what is", 5, 1, 0.2))
    assert cue_of("What, is it?", cues) == cues[1]
    assert cue_of("Whatever is it?", cues) is None


def picture(colour: int) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (16, 16), (colour, 90, 200)).save(buffer, "PNG")
    return buffer.getvalue()


def row(number: int, query: str, label: bool | None, pictures: int = 1) -> dict[str, Any]:
    return {
        "query_id": f"{number:064x}",
        "query": query,
        "label_safe": label,
        "picture_sha256": [f"{number:064x}"] * pictures,
        "category": None if label else "privacy",
        "subcategory": None,
        "split": "train",
        "source": "folder",
        "source_key": f"queries.jsonl:{number}",
    }


def test_the_file_is_what_generate_reads(tmp_path: Path) -> None:
    import datasets
    import pyarrow.parquet as pq

    rows = [
        row(1, "What are the steps for lawn mowing?", True),
        row(2, "Can you explain how to do pie flinging?", False, pictures=2),
        row(3, "Can you walk me through diary peeking?", False, pictures=0),
        row(4, "N/A", False),
        row(5, "Teach me bread baking.", True),
        row(6, "What is this?", None),
        row(1, "What are the steps for lawn mowing?", True),
    ]
    out = tmp_path / "new" / "queries.parquet"
    found = write_counterfactuals(
        rows, lambda sha: {"bytes": picture(int(sha, 16)), "path": None, "more": 1}, str(out), TOP, base=0.5
    )
    assert found.as_dict() == {
        "read": 7,
        "written": 3,
        "no_label": 1,
        "already": 1,
        "no_frame": 1,
        "no_opener": 0,
        "repeated": 1,
    }
    assert [path.name for path in out.parent.iterdir()] == ["queries.parquet"]
    source = open_source(SourceConfig(name="parquet", path=str(out)))
    queries = [load(r, caps=PictureCaps()) for w in source.windows() for r in w.rows()]
    assert [len(query.pictures) for query in queries] == [1, 2, 0]
    assert [query.label_safe for query in queries] == [True, False, False]
    assert [query.category for query in queries] == [None, "privacy", "privacy"]
    assert [query.split for query in queries] == ["train"] * 3
    assert f"{1:064x}" in (queries[0].extra or "")
    assert queries[0].pictures[0].data == picture(1)
    features = datasets.Features.from_arrow_schema(pq.read_schema(out))
    assert isinstance(features["images"].feature, datasets.Image)


def test_nothing_is_left_where_the_writing_fails(tmp_path: Path) -> None:
    def broken(sha: str) -> dict[str, Any]:
        raise KeyError(sha)

    with pytest.raises(KeyError):
        write_counterfactuals([row(1, "What are the steps for it?", True)], broken, str(tmp_path / "q.parquet"), TOP)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_auc_falls_on_the_sample(split: str, tmp_path: Path) -> None:
    """The sample's queries with the label standing for "refused": before, and with the counterfactuals beside them."""
    source = open_source(SourceConfig(name="sample", split=split))
    rows = [r for window in source.windows() for r in window.rows()]
    items = [(r.text, not r.label_safe) for r in rows if r.label_safe is not None]
    before = audit(items)
    transcripts = [row(n, r.text, r.label_safe) for n, r in enumerate(rows)]
    image = {"bytes": picture(1), "path": None}
    counts = write_counterfactuals(transcripts, lambda _: image, str(tmp_path / "q.parquet"), before.top, before.base)
    made = open_source(SourceConfig(name="parquet", path=str(tmp_path / "q.parquet")))
    new = [r for window in made.windows() for r in window.rows()]
    after = audit([*items, *((r.text, not r.label_safe) for r in new)])
    print(f"{split}: AUC {before.auc:.3f} -> {after.auc:.3f}; {counts.as_dict()}")
    assert before.auc is not None
    assert after.auc is not None
    assert before.auc > 0.8
    assert after.auc < before.auc - 0.2
    assert counts.written > 0.7 * len(items)
