"""What the workers of a run know of each other: who could start, which rows were in flight when engines died."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from pipelines.cluster import _own_sigterm
from pipelines.control import DEATHS_EACH, Control
from pipelines.placement import reader_cpus


class TestStarts:
    def test_workers_that_never_get_ready_end_the_run(self) -> None:
        control = Control(2)
        assert [control.starting() for _ in range(2 * DEATHS_EACH)] == [None] * 6
        assert str(control.starting()).startswith("failed: 6 workers in a row ended before they were ready")

    @pytest.mark.parametrize("later", [("b", {"requests": 1}), ("a", {"requests": 2})], ids=["ready", "progress"])
    def test_what_was_done_in_between_counts(self, later: tuple[str, dict[str, Any]]) -> None:
        control = Control(1)
        control.stats("a", {"requests": 1})
        assert [control.starting() for _ in range(DEATHS_EACH)] == [None] * 3
        control.stats(*later)
        assert [control.starting() for _ in range(DEATHS_EACH)] == [None] * 3
        control.stats(*later)  # as before: nothing was done
        assert control.starting() is not None

    def test_a_model_that_nobody_can_use_is_fatal(self) -> None:
        control = Control()
        assert control.unfit("no such model")
        assert control.state() == ("fatal", "no such model", 0)

    def test_a_later_worker_that_does_not_start_may_try_again(self) -> None:
        control = Control()
        control.stats("a", {"requests": 5})
        assert not control.unfit("the server is full")
        assert control.state()[:2] == (None, None)
        for _ in range(DEATHS_EACH):
            control.starting()
        assert str(control.starting()).endswith(": the server is full")


def test_rows_in_flight_at_two_ends_are_suspects() -> None:
    control = Control()
    control.died(["a", "b"])
    assert control.suspects() == {}
    control.died(["b", "c"])
    control.died(["b"])
    assert control.suspects() == {"b": 3}


def test_readers_ask_for_nothing_where_workers_take_everything() -> None:
    assert reader_cpus({"CPU": 4.0}, 4) == 0.0
    assert reader_cpus({"CPU": 4.0, "GPU": 8.0}, 2) == 0.5
    assert reader_cpus({}, 1) == 0.0


def test_ray_does_not_keep_sigterm() -> None:
    """Its handler ends the process with code 15, and nothing is sealed."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with _own_sigterm():
            signal.signal(signal.SIGTERM, lambda *_: None)  # as ray.init does
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with _own_sigterm():
            pass
        with pytest.raises(SystemExit) as ended:
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
