"""The writer: every acknowledged row is in the file, pictures before rows, and a failed write stops everything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine.errors import OutputError, RowError
from engine.journal.frames import PICTURE, Damage
from engine.journal.segments import PICTURES, ROWS, JournalWriter, iter_frames, segments
from engine.journal.store import Store
from tests.journal.make import failed, hex_id, picture, transcript


def bodies(url: Path, suffix: str = ROWS) -> list[bytes]:
    store = Store(url)
    return [frame.body for segment in segments(store, suffix) for frame in iter_frames(store, segment)]


def test_a_row_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    writer = JournalWriter(str(tmp_path), "w1", fsync_s=3600)
    writer.append(transcript("a"))
    assert len(bodies(tmp_path)) == 1
    writer.append_duplicate(hex_id("a"), "rows.jsonl:7", 7)
    assert len(bodies(tmp_path)) == 2
    writer.close()


def test_a_picture_is_kept_once_a_writer_and_byte_for_byte(tmp_path: Path) -> None:
    shown = picture("p\x1e\n")
    with JournalWriter(str(tmp_path), "w1") as writer:
        writer.add_picture(shown)
        writer.add_picture(shown)
    (body,) = bodies(tmp_path, PICTURES)
    assert body.endswith(b"\n" + shown.data)
    (frame,) = iter_frames(Store(tmp_path), "journal/w1.pictures")
    assert (frame.kind, frame.digest.hex()) == (PICTURE, shown.sha256[:32])


def test_an_idle_writer_leaves_no_file(tmp_path: Path) -> None:
    JournalWriter(str(tmp_path), "w1").close()
    assert Store(tmp_path).list("journal") == []


def test_a_worker_id_is_used_once(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w1") as writer:
        writer.append(transcript())
    with JournalWriter(str(tmp_path), "w1") as again, pytest.raises(OutputError, match=r"w1\.rows"):
        again.append(transcript("b"))
    assert len(bodies(tmp_path)) == 1


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 200])
def test_a_worker_id_is_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="worker_id"):
        JournalWriter(str(tmp_path), name)


def test_threads_share_a_writer(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w1", fsync_s=0.01) as writer:

        def work(worker: int) -> None:
            for number in range(50):
                writer.add_picture(picture(number))
                writer.append(transcript((worker, number), index=worker * 50 + number))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(bodies(tmp_path)) == 200
    assert len(bodies(tmp_path, PICTURES)) == 50


def test_a_closed_writer_refuses(tmp_path: Path) -> None:
    writer = JournalWriter(str(tmp_path), "w1")
    writer.close()
    writer.close()
    with pytest.raises(OutputError, match="closed"):
        writer.append(transcript())


def test_a_row_that_cannot_be_kept_is_the_rows_error(tmp_path: Path) -> None:
    with JournalWriter(str(tmp_path), "w1") as writer:
        for bad in (
            transcript(source_key=""),
            transcript(query_id="xyz"),
            transcript(attempts="1"),
            transcript(status="fine"),
        ):
            with pytest.raises(RowError):
                writer.append(bad)
        writer.append(failed())
    assert len(bodies(tmp_path)) == 1


def test_damage_is_counted_and_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with JournalWriter(str(tmp_path), "w1") as writer:
        writer.append(transcript("a"))
        writer.append(transcript("b", index=1))
    path = tmp_path / "journal/w1.rows"
    path.write_bytes(path.read_bytes()[:-5])
    damage = Damage()
    assert len(list(iter_frames(Store(tmp_path), "journal/w1.rows", damage))) == 1
    assert damage.places == 1
    assert "passed over" in caplog.text


LIMIT = """
import resource, sys
from engine.errors import OutputError
from engine.journal.segments import JournalWriter
from tests.journal.make import transcript
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
writer = JournalWriter(sys.argv[1], "w1")
kept = 0
try:
    for number in range(100):
        writer.append(transcript(number, index=number))
        kept += 1
except OutputError as error:
    print(kept, error)
try:
    writer.append(transcript("more"))
except OutputError:
    print("still refused")
"""


@pytest.mark.kill
def test_a_full_disk_stops_the_writer_and_leaves_whole_records(tmp_path: Path) -> None:
    from tests.journal.children import output

    printed = output(LIMIT, str(tmp_path))
    assert "no space left" in printed
    assert "still refused" in printed
    damage = Damage()
    found = list(iter_frames(Store(tmp_path), "journal/w1.rows", damage))
    assert len(found) == int(printed.split()[0]) > 3
    assert damage.size == 0
