"""Admission, breaker, fingerprint, seeds, rates: the small parts with rules of their own."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import fingerprint
from engine.admission import Admission, Claim
from engine.answering import seed_of
from engine.breaker import Breaker
from engine.commands import generate
from engine.commands._flags import parser
from engine.config import CurateConfig, GenerateConfig
from engine.config_file import merge
from engine.curation.filters import FILTERS
from engine.curation.options import options_of
from engine.evaluation.rates import wilson
from engine.types import query_id

ROOT = Path(__file__).parent.parent


class TestAdmission:
    @given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 60))
    def test_never_over_capacity_and_everyone_gets_in(self, costs: list[int], capacity: int) -> None:
        async def main() -> tuple[int, int]:
            admission = Admission(capacity)
            peak = served = 0

            async def row(cost: int) -> None:
                nonlocal peak, served
                async with admission.hold(Claim(cost)):
                    peak = max(peak, admission.held)
                    await asyncio.sleep(0)
                    served += 1

            await asyncio.gather(*(row(cost) for cost in costs))
            assert admission.held == 0
            return peak, served

        peak, served = asyncio.run(main())
        assert peak <= capacity
        assert served == len(costs)

    def test_first_come_first_served(self) -> None:
        """A heavy row is not overtaken by light ones for ever."""

        async def main() -> list[str]:
            admission, order = Admission(10), []

            async def row(name: str, cost: int) -> None:
                async with admission.hold(Claim(cost)):
                    order.append(name)
                    await asyncio.sleep(0.001)

            await asyncio.gather(row("a", 6), row("heavy", 10), row("b", 1), row("c", 1))
            return order

        assert asyncio.run(main()) == ["a", "heavy", "b", "c"]

    @given(
        st.lists(st.tuples(st.integers(1, 9), st.sampled_from("abc"), st.integers(0, 30)), max_size=40),
        st.integers(1, 60),
    )
    def test_what_rows_share_is_counted_once(self, rows: list[tuple[int, str, int]], capacity: int) -> None:
        async def main() -> None:
            admission = Admission(capacity)
            inside: list[tuple[int, str, int]] = []

            async def row(own: int, key: str, shared: int) -> None:
                async with admission.hold(Claim(own, key, shared)):
                    inside.append((own, key, shared))
                    assert admission.held <= capacity
                    # A row that is heavier than everything is cut to the capacity, so its own part may count for less.
                    light = [row[0] for row in inside if row[0] + row[2] <= capacity]
                    assert admission.held >= sum(light)
                    await asyncio.sleep(0)
                    inside.remove((own, key, shared))

            await asyncio.gather(*(row(*found) for found in rows))
            assert admission.held == 0

        asyncio.run(main())

    def test_two_rows_on_one_picture_fit_where_two_pictures_would_not(self) -> None:
        async def main() -> tuple[int, int]:
            admission, together, apart = Admission(100), 0, 0
            async with admission.hold(Claim(20, "a", 60)):
                async with admission.hold(Claim(20, "a", 60)):
                    together = admission.held
                other = asyncio.create_task(admission._acquire(Claim(20, "b", 60)))
                await asyncio.sleep(0)
                apart = admission.held
            await asyncio.wait_for(other, 1)
            return together, apart

        assert asyncio.run(main()) == (100, 80)

    @given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 7), st.integers(1, 60))
    def test_no_more_rows_than_a_claim_allows(self, costs: list[int], most: int, capacity: int) -> None:
        async def main() -> int:
            admission, inside, peak = Admission(capacity), 0, 0

            async def row(cost: int) -> None:
                nonlocal inside, peak
                async with admission.hold(Claim(cost, rows=most)):
                    inside += 1
                    peak = max(peak, inside)
                    await asyncio.sleep(0)
                    inside -= 1

            await asyncio.gather(*(row(cost) for cost in costs))
            assert (admission.held, admission.rows) == (0, 0)
            return peak

        peak = asyncio.run(main())
        assert peak <= most
        if sum(costs) <= capacity:
            assert peak == min(most, len(costs))

    def test_a_cancelled_waiter_blocks_nobody(self) -> None:
        async def main() -> None:
            admission = Admission(1)
            async with admission.hold(Claim(1)):
                waiter = asyncio.create_task(admission._acquire(Claim(1)))
                last = asyncio.create_task(admission._acquire(Claim(1)))
                await asyncio.sleep(0)
                waiter.cancel()
            await asyncio.wait_for(last, 1)
            assert admission.held == 1

        asyncio.run(main())


class TestBreaker:
    def test_four_percent_does_not_trip_a_fifty_percent_limit(self) -> None:
        breaker = Breaker(0.5)
        assert not any(breaker.add("E" if i % 25 == 0 else None) for i in range(1000))

    def test_trips_on_the_window_and_names_the_first_cause(self) -> None:
        breaker = Breaker(0.5)
        assert not any(breaker.add(None) for _ in range(1000))
        tripped = [breaker.add("RequestError", f"no {i}") for i in range(200)]
        assert tripped.index(True) == 100  # 101 of the last 200
        assert "RequestError: no 0" in breaker.report()
        assert "RequestError × 101" not in breaker.report().split("\n")[0]

    def test_waits_for_twenty_rows_and_looks_again_at_the_end(self) -> None:
        breaker = Breaker(0.5)
        assert not any(breaker.add("E", "x") for _ in range(19))
        assert breaker.at_end()
        assert not Breaker(0.5).at_end()

    @given(st.lists(st.booleans(), max_size=400), st.floats(0, 1))
    def test_equals_its_definition(self, bad: list[bool], limit: float) -> None:
        breaker = Breaker(limit, window=50, at_least=20)
        for i, failed in enumerate(bad):
            last = bad[max(0, i - 49) : i + 1]
            expected = len(last) >= 20 and sum(last) > limit * len(last)
            assert breaker.add("E" if failed else None) == expected


class TestFingerprint:
    def fields(self, **changes: object) -> dict[str, object]:
        config = GenerateConfig(**changes)  # type: ignore[arg-type]
        return fingerprint.fields(config, backend="vllm", model="m", revision="r")

    @pytest.mark.parametrize(
        "changes",
        [
            {"strategy": "direct"},
            {"preset": "paper"},
            {"seed": 1},
            {"max_tokens": 7},
            {"retries": 0},
            {"picture_prep": "pad"},
            {"engine_arg": {"dtype": "float32"}},
            {"chat_template_kwargs": {"enable_thinking": False}},
            {"where": {"category": "privacy"}},
        ],
    )
    def test_what_changes_an_answer_changes_it(self, changes: dict[str, object]) -> None:
        assert fingerprint.digest(self.fields(**changes)) != fingerprint.digest(self.fields())

    @pytest.mark.parametrize(
        "changes",
        [
            {"out": "x"},
            {"workers": "8"},
            {"gpus_per_worker": 2},
            {"limit": 5},
            {"resume": "always"},
            {"retry_errors": True},
            {"drain_s": 1},
            {"max_error_rate": 0.1},
            {"if_running": "skip"},
        ],
    )
    def test_what_does_not_does_not(self, changes: dict[str, object]) -> None:
        assert fingerprint.digest(self.fields(**changes)) == fingerprint.digest(self.fields())

    def test_refuses_what_has_no_stable_text(self) -> None:
        with pytest.raises(TypeError):
            fingerprint.canonical({"a": {1, 2}})


def test_seed_depends_on_all_it_is_made_of() -> None:
    seeds = {seed_of(*args) for args in [(0, "a", "s", 0), (1, "a", "s", 0), (0, "b", "s", 0), (0, "a", "s", 1)]}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=3), st.text())
def test_query_id_is_stable_and_depends_on_order(digests: list[bytes], text: str) -> None:
    found = query_id(digests, text)
    assert found == query_id(list(digests), text)
    assert len(found) == 64
    assert (query_id(digests[::-1], text) == found) == (digests == digests[::-1])
    assert query_id(digests, text + "x") != found


def test_query_id_by_hand() -> None:
    import hashlib

    digest = hashlib.sha256(b"picture").digest()
    assert query_id([digest], "text") == hashlib.sha256(digest + b"\0" + b"text").hexdigest()


class TestWilson:
    def test_known_values(self) -> None:
        """scipy.stats.binomtest(8, 10).proportion_ci(method="wilson") = (0.4901…, 0.9433…)."""
        rate = wilson(8, 10)
        assert rate.low == pytest.approx(0.490162, abs=1e-5)
        assert rate.high == pytest.approx(0.943318, abs=1e-5)

    @given(st.integers(0, 500), st.integers(1, 500))
    def test_holds_the_share(self, hits: int, n: int) -> None:
        hits = min(hits, n)
        rate = wilson(hits, n)
        assert 0 <= rate.low <= hits / n <= rate.high <= 1

    def test_empty(self) -> None:
        assert math.isnan(wilson(0, 0).share)
        assert str(wilson(0, 0)) == "–"


class TestFlags:
    """Flags are made from the config schema; each form means what it says."""

    @pytest.mark.parametrize(
        ("section", "given", "key", "value"),
        [
            ("generate", ["--no-curate"], "no_curate", True),
            ("generate", ["--retry-errors"], "retry_errors", True),
            ("generate", ["--no-retry-errors"], "retry_errors", False),
            ("generate", ["--where", "category=7"], "where", {"category": "7"}),
            ("generate", ["--engine-arg", "capacity=7"], "engine_arg", {"capacity": 7}),
            ("curate", ["--filters", "verdict,length", "--filters", "pii"], "filters", ["verdict", "length", "pii"]),
            ("curate", ["--cap-category", "privacy=5,*=9"], "cap_category", {"privacy": 5, "*": 9}),
            ("curate", ["--dedup", "threshold=0.7"], "dedup", {"threshold": 0.7}),
            ("curate", ["--no-report"], "report", False),
        ],
    )
    def test_what_was_given(self, section: str, given: list[str], key: str, value: object) -> None:
        arguments = vars(parser(section, "").parse_args(given))
        assert arguments == {"config": None, key: value}
        assert merge(section, {key: value}, None) == {key: value}


@pytest.mark.parametrize("name", ["generate", "curate"])
def test_the_example_configs_are_taken(name: str) -> None:
    """As the README gives them: every key, filter and option exists."""
    values = merge(name, {}, str(ROOT / f"examples/{name}.yaml"))
    if name == "generate":
        assert GenerateConfig(**values).pool == (1, 8)
    else:
        assert {step for step, _ in options_of(CurateConfig(**values)).chosen} == set(FILTERS)


def test_a_curate_section_is_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.run.run_command", lambda _: 0)
    file = tmp_path / "both.yaml"
    file.write_text("generate: {limit: 5}\ncurate: {max_share: 0.2}\n")
    assert generate.main(["--config", str(file)]) == 0
    assert f"engine.curate RUN --config {file}" in capsys.readouterr().err
    assert generate.main(["--config", str(file), "--no-curate"]) == 0
    assert capsys.readouterr().err == ""
