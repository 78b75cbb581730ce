"""What is done: by query id and by source row, with and without --retry-errors."""

from __future__ import annotations

import pickle
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from engine.journal.index import Done, done
from engine.journal.segments import JournalWriter
from tests.journal import model
from tests.journal.make import failed, hex_id, transcript


@settings(max_examples=60, deadline=None)
@given(model.OPS)
def test_done_equals_the_model(ops: list[model.Op]) -> None:
    with tempfile.TemporaryDirectory() as url:
        write(url, ops)
        for retry_errors in (False, True):
            found = done(url, retry_errors=retry_errors)
            names, keys = model.done(ops, retry_errors)
            assert {name for name in range(5) if found.has_id(hex_id(name))} == names
            assert {f"rows.jsonl:{row}" for row in range(6) if found.has_key(f"rows.jsonl:{row}")} == keys
            assert (len(found.ids), len(found.keys)) == (len(names), len(keys))


def write(url: str, ops: list[model.Op]) -> None:
    with ExitStack() as stack:
        writers = [stack.enter_context(JournalWriter(url, f"w{number}", fsync_s=3600)) for number in range(3)]
        for op in ops:
            op.apply(writers)


def test_nothing_is_done_in_an_empty_folder(tmp_path: Path) -> None:
    found = done(str(tmp_path / "none"), retry_errors=False)
    assert not found.has_id(hex_id(1))
    assert not found.has_keys(["a", "b"]).any()


def test_a_row_costs_32_bytes_and_lookups_are_exact(tmp_path: Path) -> None:
    rows = 3000
    with JournalWriter(str(tmp_path), "w") as writer:
        for number in range(rows):
            writer.append(transcript(number, index=number, steps=0))
    found = done(str(tmp_path), retry_errors=False)
    assert found.ids.nbytes + found.keys.nbytes == 32 * rows
    assert found.has_ids([hex_id(number) for number in range(rows)]).all()
    assert not found.has_ids([hex_id(number) for number in range(rows, 2 * rows)]).any()
    assert (
        found.has_keys([f"rows.jsonl:{number}" for number in range(rows + 5)]).tolist() == [True] * rows + [False] * 5
    )


def test_digests_that_end_in_zero_bytes_are_found() -> None:
    ids = np.unique(np.array([b"a" * 15 + b"\0", b"a" * 16, b"\0" * 16], "S16"))
    found = Done(ids, ids)
    assert found.has_id((b"a" * 15).hex() + "00" * 17)
    assert found.has_id("00" * 32)
    assert not found.has_id((b"a" * 14).hex() + "00" * 18)


def test_it_travels_between_processes() -> None:
    found = Done(np.array([b"x" * 16], "S16"), np.array([b"y" * 16], "S16"))
    again = pickle.loads(pickle.dumps(found, protocol=5))
    assert again.has_id(b"x".hex() * 32)


def test_a_retried_error_is_not_done_a_later_error_does_not_undo_an_answer(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w") as writer:
        writer.append(failed("bad", index=0))
        writer.append(transcript("good", index=1))
        writer.append(failed("good", index=1))
    found = done(str(tmp_path), retry_errors=True)
    assert found.has_ids([hex_id("bad"), hex_id("good")]).tolist() == [False, True]
    assert done(str(tmp_path), retry_errors=False).has_id(hex_id("bad"))


def test_accepted_answers_are_counted_once(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w1") as writer:
        for number in range(3):
            writer.append(transcript(number, index=number))
        writer.append(failed(7, index=7))
    with JournalWriter(str(tmp_path), "w2") as writer:
        writer.append(transcript(1, index=1))
    assert done(str(tmp_path)).accepted == 3


@pytest.mark.parametrize("cut", [1, 40, 130])
def test_a_torn_row_is_not_done(tmp_path: Path, cut: int) -> None:
    with JournalWriter(str(tmp_path), "w") as writer:
        writer.append(transcript("a", index=0))
        writer.append(transcript("b", index=1))
    path = tmp_path / "journal/w.rows"
    path.write_bytes(path.read_bytes()[:-cut])
    found = done(str(tmp_path), retry_errors=False)
    assert found.has_ids([hex_id("a"), hex_id("b")]).tolist() == [True, False]
