"""Any damage costs the damaged records and no other."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.journal import frames
from engine.journal.frames import Damage, decode, encode, scan

RECORDS = st.lists(
    st.builds(
        encode,
        st.sampled_from(frames.KINDS),
        st.integers(0, 2**63 - 1),
        st.binary(min_size=16, max_size=16),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 2**63 - 1),
        # Marks and line ends inside a body (a picture's bytes) must not confuse a reader.
        st.binary(max_size=40) | st.text(alphabet="\x1e\nab0 ", max_size=40).map(str.encode),
    ),
    min_size=1,
    max_size=8,
)


def read(data: bytes, damage: Damage | None = None) -> list[frames.Frame]:
    return list(scan(io.BytesIO(data), damage))


def raw(data: bytes) -> list[bytes]:
    return [data[frame.offset : frame.offset + frame.length] for frame in read(data)]


@given(RECORDS)
def test_whole_segments_come_back_as_written(records: list[bytes]) -> None:
    damage = Damage()
    assert raw(b"".join(records)) == records
    read(b"".join(records), damage)
    assert damage == Damage(0, 0)


@given(RECORDS, st.data())
def test_a_torn_tail_costs_the_torn_record_only(records: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(records)
    cut = data.draw(st.integers(0, len(whole) - 1))
    damage = Damage()
    found = read(whole[:cut], damage)
    ends = [sum(map(len, records[: number + 1])) for number in range(len(records))]
    assert [frame.offset + frame.length for frame in found] == [end for end in ends if end <= cut]
    assert damage.size == cut - max([0, *(end for end in ends if end <= cut)])


@given(RECORDS, st.data())
def test_overwritten_bytes_cost_the_records_they_hit_only(records: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(records))
    start = data.draw(st.integers(0, len(whole) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=60))[: len(whole) - start]
    whole[start : start + len(garbage)] = garbage
    kept, at = [], 0
    for record in records:
        if bytes(whole[at : at + len(record)]) == record:
            kept.append(record)
        at += len(record)
    assert [record for record in raw(bytes(whole)) if record in kept] == kept


@given(RECORDS, st.binary(max_size=60), st.data())
def test_inserted_bytes_cost_at_most_the_record_they_split(
    records: list[bytes], garbage: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(records)))
    assert raw(b"".join(records[:at]) + garbage + b"".join(records[at:])) == records


@given(RECORDS)
def test_a_record_decodes_alone(records: list[bytes]) -> None:
    for record in records:
        frame = decode(record)
        assert frame is not None
        assert frame.length == len(record)
        assert decode(record[:-1]) is None
        assert decode(record + b"\n") is None


def test_a_damaged_length_is_never_trusted() -> None:
    record = bytearray(encode("o", 1, bytes(16), bytes(16), 0, b"{}"))
    record[10:18] = b"ffffffff"
    good = encode("o", 2, bytes(16), bytes(16), 1, b"{}")
    assert [frame.time_ns for frame in read(bytes(record) + good)] == [2]


def test_bodies_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_BODY", 10)
    with pytest.raises(ValueError, match="at most 10"):
        encode("p", 1, bytes(16), bytes(16), 0, b"x" * 11)
