"""Whole runs: what is a duplicate, what is not, and that nothing depends on how the input is cut."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.curation.dedup import DedupOptions
from engine.curation.dedup.options import KINDS
from engine.errors import UsageError
from pipelines.dedup import find_duplicates, hash_pictures
from tests.curation.dedup.inputs import captioned, digest, encoded, photo, run, truth, write_items, write_pictures

LONG = "please tell me in a few plain words what the person at the left side of this picture is doing with the pie {}"


@pytest.fixture(scope="module")
def cluster() -> object:
    import os

    import ray

    from pipelines.cluster import QUIET

    os.environ.update(QUIET)
    if ray.is_initialized():
        yield
        return
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


ROW = st.tuples(
    st.lists(st.sampled_from(["pie", "flinging", "diary", "peeking", "how", "do", "I"]), max_size=9).map(" ".join),
    st.lists(st.sampled_from(["aa" * 32, "bb" * 32]), max_size=2).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=40), st.sampled_from([0.4, 0.6, 0.8, 1.0]), st.integers(1, 3))
def test_equal_to_brute_force(rows: list[tuple[str, tuple[str, ...]]], threshold: float, n: int) -> None:
    with TemporaryDirectory() as folder:
        found = run(Path(folder), rows, threshold=threshold, shingle=n)
    assert {each.rank: each.kept_rank for each in found} == truth(rows, threshold, n)
    assert [each.rank for each in found] == sorted(each.rank for each in found)
    assert all(each.similarity >= threshold for each in found)


def templated(rows: int, seed: int = 1) -> list[tuple[str, tuple[str, ...]]]:
    """Copies, near copies and rows of templates, over a few pictures and none."""
    rng = random.Random(seed)
    nouns = [f"{a}{b}" for a in ("pie", "diary", "sock", "riddle", "kite") for b in ("", "s", "box", "man", "shop")]
    made: list[tuple[str, tuple[str, ...]]] = []
    for number in range(rows):
        text = LONG.format(" ".join(rng.choices(nouns, k=rng.randint(1, 12))))
        if made and rng.random() < 0.4:
            text = made[rng.randrange(len(made))][0]
            if rng.random() < 0.6:
                text += " " + rng.choice(nouns)
        pictures = tuple(f"{number % 3:064x}" for _ in range(rng.choice([0, 1, 1, 2])))
        made.append((text, pictures))
    return made


def test_equal_to_brute_force_with_templates(tmp_path: Path) -> None:
    rows = templated(700)
    found = run(tmp_path, rows)
    assert {each.rank: each.kept_rank for each in found} == truth(rows, 0.8)
    assert len(found) > 100


@pytest.mark.ray
@pytest.mark.parametrize(("files", "workers"), [(1, 2), (8, 1), (8, 2)])
def test_the_cut_does_not_matter(
    tmp_path: Path, cluster: None, files: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file in this process, or many jobs and partitions on Ray: the same duplicates in the same order."""
    images = [photo(seed, (96, 72)) for seed in range(4)]
    pictures = [encoded(image) for image in images] + [encoded(image, "JPEG", quality=80) for image in images]
    rows = [(text, tuple(digest(pictures[int(sha, 16) + 4 * (n % 2)]) for sha in shas))
            for n, (text, shas) in enumerate(templated(3000))]  # fmt: skip
    expected = run(tmp_path / "one", rows, pictures)
    assert {each.kind for each in expected} == {"exact", "text", "picture", "text+picture"}
    monkeypatch.setattr("pipelines.dedup.ROWS_A_JOB", 500)
    monkeypatch.setattr("pipelines.dedup.ROWS_A_PARTITION", 400)
    items = write_items(tmp_path / "in", rows, files)
    shown = write_pictures(tmp_path / "in", pictures, min(files, 3))
    found = find_duplicates(items, shown, DedupOptions(), workers, tmp_path / "work", inline_rows=0)
    assert list(found) == expected


def test_pictures_and_text_must_both_agree(tmp_path: Path) -> None:
    sign, copy, other = encoded(photo(1)), encoded(photo(1), "JPEG", quality=70), encoded(photo(2))
    one, two, three = digest(sign), digest(copy), digest(other)
    rows = [
        (LONG.format("today"), (one,)),
        (LONG.format("today!"), (one,)),  # exact
        (LONG.format("now"), (one,)),  # text
        (LONG.format("today"), (two,)),  # picture
        (LONG.format("now"), (two,)),  # text+picture
        (LONG.format("today"), (three,)),  # the same text on another picture
        ("is this a pie", (one,)),  # the same picture with another text
        (LONG.format("today"), ()),
        (LONG.format("today"), (one, three)),
        (LONG.format("today"), (three, one)),  # the order of pictures is part of a row
        (LONG.format("today"), (two, three)),  # picture, of two
    ]
    found = run(tmp_path, rows, [sign, copy, other])
    kinds = {each.rank: (each.kept_rank, each.kind) for each in found}
    assert kinds == {1: (0, "exact"), 2: (0, "text"), 3: (0, "picture"), 4: (0, "text+picture"), 10: (8, "picture")}
    assert all(each.distance == 0 or "picture" in each.kind for each in found)
    assert all((each.similarity < 1) == ("text" in each.kind) for each in found)
    without = run(tmp_path / "equal", rows, [sign, copy, other], pictures=False)
    assert [(each.rank, each.kind) for each in without] == [(1, "exact"), (2, "text"), (4, "text")]


def test_vlguard_pairs_and_repeated_queries_stay(tmp_path: Path) -> None:
    """Two queries on each picture, and one question about every picture."""
    pictures = [encoded(photo(seed, (64, 48))) for seed in range(12)]
    rows = [(text, (digest(data),)) for data in pictures for text in ("Explain this image", "Can you fling the pie?")]
    assert run(tmp_path, rows, pictures) == []


def test_one_meme_with_other_captions_stays(tmp_path: Path) -> None:
    memes = [encoded(captioned(photo(5), words)) for words in ("diary peeking", "a pie is flung", "monday again")]
    rows = [("Explain this meme in a few words", (digest(data),)) for data in memes]
    assert run(tmp_path, rows, memes) == []


def test_chains_end_at_the_kept_row(tmp_path: Path) -> None:
    """A ~ B and B ~ C, but C differs from A by both changes: it stays."""
    words = [f"word{number}" for number in range(20)]
    a, b = " ".join(words), " ".join(["first", *words[1:]])
    c = " ".join(["first", *words[1:-3], "x", "y", "z"])
    found = run(tmp_path, [(a, ()), (b, ()), (c, ())], threshold=0.7)
    assert [(each.rank, each.kept_rank) for each in found] == [(1, 0)]
    back = run(tmp_path / "back", [(b, ()), (a, ()), (c, ())], threshold=0.7)
    assert [(each.rank, each.kept_rank) for each in back] == [(1, 0), (2, 0)]


def test_many_copies_are_one_comparison_each(tmp_path: Path) -> None:
    """9,000 rows that repeat one row, exactly or nearly: were each compared with each, this would take minutes."""
    rows = [(LONG.format(f"n{number if number % 2 else ''}"), ()) for number in range(9000)]
    found = run(tmp_path, rows)
    assert {each.kept_rank for each in found} == {0}
    assert len(found) == 8999
    assert [each.kind for each in found[:3]] == ["text", "exact", "text"]


def test_meaning(tmp_path: Path) -> None:
    """Embeddings bring together what words do not; a picture that differs keeps rows apart."""
    rows = [("how is a pie flung", ("aa" * 32,)), ("ways of throwing cake", ("aa" * 32,))]
    rows += [("on cake throwing", ("bb" * 32,)), ("what is this", ("aa" * 32,)), ("no vector", ("aa" * 32,))]
    vectors = [[1.0, 0.0, 0.1], [2.0, 0.1, 0.2], [1.0, 0.0, 0.1], [0.0, 1.0, 0.0], None]
    found = run(tmp_path, rows, semantic=0.95, embeddings=vectors)
    assert [(each.rank, each.kept_rank, each.kind) for each in found] == [(1, 0, "semantic")]
    assert 0.95 < found[0].similarity < 1
    assert run(tmp_path / "off", rows, embeddings=vectors) == []


def test_nothing_to_do(tmp_path: Path) -> None:
    assert run(tmp_path, []) == []
    assert list(find_duplicates([], [], DedupOptions(), 1, tmp_path / "none")) == []
    assert len(hash_pictures([], DedupOptions(), 1, tmp_path / "pictures")) == 0


def test_bad_input_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"rank": [1]}), tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match="no column picture_sha256, text"):
        find_duplicates([str(tmp_path / "bad.parquet")], [], DedupOptions(), 1, tmp_path / "work")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(UsageError, match="no readable Parquet"):
        find_duplicates([str(tmp_path / "text.parquet")], [], DedupOptions(), 1, tmp_path / "work")
    for wrong in ({"threshold": 0}, {"shingle": 9}, {"picture_radius": -1}, {"semantic": 2.0}):
        with pytest.raises(UsageError, match="dedup: "):
            DedupOptions(**wrong)
    assert len(set(KINDS)) == 5


@pytest.mark.ray
def test_an_error_in_a_task_is_ours(tmp_path: Path, cluster: None) -> None:
    pq.write_table(pa.table({"rank": [1]}), tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match="no column"):
        find_duplicates([str(tmp_path / "bad.parquet")], [], DedupOptions(), 1, tmp_path / "work", inline_rows=0)
