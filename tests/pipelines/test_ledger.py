"""A worker's ledger: what a restarted worker asks again, what is a copy, what becomes of a row against the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.answering import RunFacts
from engine.backends.base import BackendConfig
from engine.journal.index import done
from engine.planning import WorkerSetup
from engine.strategies.base import StrategyOptions
from engine.types import Query
from pipelines.ledger import Ledger
from tests.journal.make import failed, hex_id, picture, transcript

FACTS = RunFacts("run-1", "ecso", "robust", "tiny", None, "b" * 64, "0")


def setup(out: Path, retry_errors: bool = False, check_share: float = 0.0) -> WorkerSetup:
    backend = BackendConfig("scripted", "tiny")
    return WorkerSetup(
        str(out), None, backend, "ecso", StrategyOptions(), FACTS, check_share, retry_errors=retry_errors
    )


def row(name: str, key: str) -> Query:
    return Query(hex_id(name), f"question {name}", (picture(name),), "sample", key)


def test_a_row_is_asked_once_and_its_copy_noted(tmp_path: Path) -> None:
    ledger = Ledger(setup(tmp_path), "w1", restarted=False)
    first, copy = row("a", "rows:1"), row("a", "rows:2")
    assert ledger.standing(first) is None
    assert ledger.keep_with_pictures(first, transcript("a", "rows:1")).state == "ok"
    assert (ledger.standing(first), ledger.standing(copy)) == ("again", "duplicate")
    assert ledger.note(copy).state == "duplicate"
    assert ledger.standing(copy) == "again"  # it comes a second time where a block is sent twice
    ledger.writer.close()
    found = done(str(tmp_path), retry_errors=False)
    assert found.has_key("rows:1")
    assert found.has_key("rows:2")


@pytest.mark.parametrize("retry", [False, True], ids=["errors stand", "errors are asked again"])
def test_a_restarted_worker_goes_on_from_its_dead_self(tmp_path: Path, retry: bool) -> None:
    dead = Ledger(setup(tmp_path), "w1", restarted=False)
    dead.keep(row("a", "rows:1"), transcript("a", "rows:1"))
    dead.keep(row("b", "rows:2"), failed("b", "rows:2"))
    ledger = Ledger(setup(tmp_path, retry_errors=retry), "w2", restarted=True)
    assert ledger.standing(row("a", "rows:1")) == "again"
    assert ledger.standing(row("a", "rows:9")) == "duplicate"
    assert ledger.standing(row("b", "rows:2")) == (None if retry else "again")
    assert ledger.standing(row("c", "rows:3")) is None
    assert Ledger(setup(tmp_path), "w3", restarted=False).standing(row("a", "rows:1")) is None


def test_a_row_that_breaks_the_contract_is_an_error_row(tmp_path: Path) -> None:
    ledger = Ledger(setup(tmp_path, check_share=1.0), "w1", restarted=False)
    ack = ledger.keep(row("a", "rows:1"), transcript("a", "rows:1", final_verdict="maybe"))
    assert (ack.state, ack.accepted, ack.error_type) == ("error", False, "RowError")
    assert "final_verdict" in str(ack.error_message)
    assert ledger.standing(row("a", "rows:1")) == "again"
